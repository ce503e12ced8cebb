// Attention over one page with AVX2: up to 6 queries share each load of keys and of values. Sums have the shapes of
// attention.c.
//
// Vectors of keys hold 8 positions, those of values 8 elements: nothing is summed over lanes but weights. Up to 12 sums, 4
// shared vectors and a factor are in flight: 6 queries with two vectors, 4 with three, 2 with four.
#include "exp_avx2.h"
#include "kv_avx2.h"
#include "twins.h"

#if QK_X86

enum {
  QUERIES = 6, // of a tile
  SUMS = 12,
};

typedef struct {
  const float *q;
  size_t q_stride;
  const uint8_t *keys, *values, *ahead;
  size_t dim;
  const int32_t *first, *visible;
  float *maximum, *sum, *out;
  size_t out_stride;
  // Of codes of 8 bits, for each position; else null.
  const float *key_scales, *value_scales;
} page;

// Scores, then weights, of the queries of a tile.
typedef float tile_weights[QUERIES][QK_PAGE_POSITIONS];

// Three sums += *factor * a, b, c. 4 queries and 3 vectors take all 16 registers; left to itself the compiler loads several
// factors at once and parks sums in memory instead, where they wait for each other.
QK_INLINE QK_AVX2 void add_three(__m256 *sums, const float *factor, const __m256 *shared) {
  __m256 f;
  __asm__("vbroadcastss %4, %3\n\tvfmadd231ps %3, %5, %0\n\tvfmadd231ps %3, %6, %1\n\tvfmadd231ps %3, %7, %2"
          : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "=&x"(f)
          : "m"(*factor), "x"(shared[0]), "x"(shared[1]), "x"(shared[2]));
}

// sums[i][j] += *factor i * shared vector j.
#define QK_ADD_PRODUCTS(queries, vectors, load, factor)                                         \
  __m256 shared[8];                                                                             \
  QK_UNROLL for (int j = 0; j < vectors; j++) shared[j] = load;                                 \
  QK_UNROLL for (int i = 0; i < queries; i++) {                                                 \
    if (queries * vectors == 12 && vectors == 3) {                                              \
      add_three(sums + 3 * i, factor, shared);                                                  \
    } else {                                                                                    \
      const __m256 f = _mm256_broadcast_ss(factor);                                             \
      QK_UNROLL for (int j = 0; j < vectors; j++) {                                             \
        sums[i * vectors + j] = _mm256_fmadd_ps(f, shared[j], sums[i * vectors + j]);           \
      }                                                                                         \
    }                                                                                           \
  }

// Of so many vectors left, those that are taken together.
QK_INLINE int vectors_of(const int queries, size_t left) {
  if (queries == 1 && left >= 8) return 8;
  if (queries <= 2 && left >= 4) return 4;
  if ((queries == 3 || queries == 4) && left >= 3 && left != 4) return 3;
  return left >= 2 ? 2 : 1;
}

// Scores of vectors x 8 positions from p on. Meanwhile the values are fetched.
QK_INLINE QK_AVX2 void score_some(qk_kv element, const int queries, const int vectors, const page *a, size_t p,
                                  tile_weights weights) {
  // As many bytes of values as are read of keys; what lies side by side is read in turns.
  const uint8_t *fetched = qk_kv_row_at(element, a->values, a->dim, 0) + qk_kv_span(element, p * a->dim);
  const float *q[QUERIES];
  QK_UNROLL for (int i = 0; i < queries; i++) q[i] = a->q + (size_t)i * a->q_stride;
  qk_key_scales scales;
  __m256 sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries * vectors; i++) sums[i] = _mm256_setzero_ps();
  // Runs of elements whose bits lie alike.
  const size_t run = element == QK_KV_Q4 ? 8 : a->dim;
  for (size_t start = 0; start < a->dim; start += 4 * run) {
    if (element == QK_KV_Q4) qk_key_scales_of(a->keys, start / 32, p, 8 * (size_t)vectors, &scales);
    QK_UNROLL for (int part = 0; part < (element == QK_KV_Q4 ? 4 : 1); part++) {
      const size_t first = start + (size_t)part * run;
      const size_t end = first + run < a->dim ? first + run : a->dim;
      for (size_t k = first; k < end; k++) {
        qk_fetch(fetched, qk_kv_span(element, 8 * (size_t)vectors));
        fetched += qk_kv_span(element, 8 * (size_t)vectors);
        QK_ADD_PRODUCTS(queries, vectors,
                        qk_key_load8(element, a->keys, a->dim, p + 8 * (size_t)j, k, part % 2, &scales), q[i] + k)
      }
    }
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      __m256 score = sums[i * vectors + j];
      if (a->key_scales) score = _mm256_mul_ps(score, _mm256_loadu_ps(a->key_scales + p + 8 * j));
      _mm256_storeu_ps(weights[i] + p + 8 * j, score);
    }
  }
}

// Scores of the positions from ... to and of those in a block with them.
QK_INLINE QK_AVX2 void score(qk_kv element, const int queries, const page *a, size_t from, size_t to,
                             tile_weights weights) {
  size_t p = from / QK_KEY_BLOCK * QK_KEY_BLOCK;
  const size_t end = (to + QK_KEY_BLOCK - 1) / QK_KEY_BLOCK * QK_KEY_BLOCK;
  while (p < end) {
    const int vectors = vectors_of(queries, (end - p) / 8);
    switch (vectors) {
    case 8: if (queries == 1) score_some(element, queries, 8, a, p, weights); break;
    case 4: if (queries <= 2) score_some(element, queries, 4, a, p, weights); break;
    case 3: if (queries == 3 || queries == 4) score_some(element, queries, 3, a, p, weights); break;
    default: score_some(element, queries, 2, a, p, weights); break;
    }
    p += 8 * (size_t)vectors;
  }
}

// Turns the scores of one query into weights and updates its maximum and sum; gives the correction.
QK_INLINE QK_AVX2 float soften(float *weights, const float *scales, size_t from, size_t to, float *maximum,
                               float *sum) {
  // Whole blocks from here on: what is hidden weighs exp(-infinity) = 0.
  const size_t start = from / 16 * 16;
  const size_t end = (to + 15) / 16 * 16;
  for (size_t p = start; p < from; p++) {
    weights[p] = -INFINITY;
  }
  for (size_t p = to; p < end; p++) {
    weights[p] = -INFINITY;
  }
  __m256 most = _mm256_set1_ps(*maximum);
  for (size_t p = start; p < end; p += 8) {
    most = _mm256_max_ps(_mm256_loadu_ps(weights + p), most);
  }
  float now = *maximum;
  if (_mm256_movemask_ps(_mm256_cmp_ps(most, _mm256_set1_ps(now), _CMP_GT_OQ)) != 0) {
    float lanes[8];
    _mm256_storeu_ps(lanes, most);
    for (size_t l = 0; l < 8; l++) {
      now = lanes[l] > now ? lanes[l] : now;
    }
  }
  const float base = now == -INFINITY ? 0 : now;
  const float correction = *maximum == base ? 1 : qk_exp_scalar(*maximum - base);
  __m256 low = _mm256_setzero_ps();
  __m256 high = _mm256_setzero_ps();
  for (size_t p = start; p < end; p += 16) {
    __m256 a = qk_exp8(_mm256_sub_ps(_mm256_loadu_ps(weights + p), _mm256_set1_ps(base)));
    __m256 b = qk_exp8(_mm256_sub_ps(_mm256_loadu_ps(weights + p + 8), _mm256_set1_ps(base)));
    low = _mm256_add_ps(low, a);
    high = _mm256_add_ps(high, b);
    if (scales) {
      a = _mm256_mul_ps(a, _mm256_loadu_ps(scales + p));
      b = _mm256_mul_ps(b, _mm256_loadu_ps(scales + p + 8));
    }
    _mm256_storeu_ps(weights + p, a);
    _mm256_storeu_ps(weights + p + 8, b);
  }
  *maximum = now;
  *sum = fmaf(*sum, correction, qk_sum8(_mm256_add_ps(low, high)));
  return correction;
}

// Where each query sees alone before and behind the positions that all of the tile see.
typedef struct {
  size_t alone_to[QUERIES], from, to, alone_from[QUERIES];
} ranges;

QK_INLINE ranges common_range(const int queries, page a) {
  ranges r;
  r.from = (size_t)a.first[0];
  r.to = (size_t)a.visible[0];
  for (int i = 1; i < queries; i++) {
    r.from = (size_t)a.first[i] > r.from ? (size_t)a.first[i] : r.from;
    r.to = (size_t)a.visible[i] < r.to ? (size_t)a.visible[i] : r.to;
  }
  const int is_empty = r.from >= r.to;
  for (int i = 0; i < queries; i++) {
    r.alone_to[i] = is_empty ? (size_t)a.visible[i] : r.from;
    r.alone_from[i] = is_empty ? (size_t)a.visible[i] : r.to;
  }
  r.to = is_empty ? r.from : r.to;
  return r;
}

// Adds the weighted values of the positions from ... to for one query.
QK_INLINE QK_AVX2 void add_alone(qk_kv element, const int vectors, page a, const float *weights, size_t from,
                                 size_t to, size_t k, __m256 *sums) {
  for (size_t p = from; p < to; p++) {
    const __m256 w = _mm256_broadcast_ss(weights + p);
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      sums[j] = _mm256_fmadd_ps(w, qk_value_load8(element, row, k + 8 * (size_t)j), sums[j]);
    }
  }
}

// Adds weighted values to vectors x 8 elements of the outputs, from element k on. Meanwhile the next keys are fetched.
QK_INLINE QK_AVX2 void weigh(qk_kv element, const int queries, const int vectors, page a,
                             const ranges *r, tile_weights weights, const float *corrections,
                             size_t k) {
  __m256 sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      sums[i * vectors + j] =
          _mm256_mul_ps(_mm256_loadu_ps(out + 8 * j), _mm256_set1_ps(corrections[i]));
    }
    add_alone(element, vectors, a, weights[i], (size_t)a.first[i], r->alone_to[i], k, sums + i * vectors);
  }
  const size_t span = qk_kv_span(element, 8 * (size_t)vectors);
  const uint8_t *ahead = qk_kv_row_at(element, a.ahead, a.dim, 0) + qk_kv_span(element, k * QK_PAGE_POSITIONS);
  for (size_t p = r->from; p < r->to; p++) {
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    qk_fetch(ahead + p * span, span);
    QK_ADD_PRODUCTS(queries, vectors, qk_value_load8(element, row, k + 8 * (size_t)j),
                    weights[i] + p)
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    add_alone(element, vectors, a, weights[i], r->alone_from[i], (size_t)a.visible[i], k, sums + i * vectors);
    float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      _mm256_storeu_ps(out + 8 * j, sums[i * vectors + j]);
    }
  }
}

// One element of each output. Rare, so kept out of line.
static __attribute__((noinline)) QK_AVX2 void weigh_one(qk_kv element, size_t queries, const page *a,
                                                        tile_weights weights, const float *corrections, size_t k) {
  for (size_t i = 0; i < queries; i++) {
    float *out = a->out + i * a->out_stride + k;
    float sum = *out * corrections[i];
    for (size_t p = (size_t)a->first[i]; p < (size_t)a->visible[i]; p++) {
      sum = fmaf(weights[i][p], qk_value_code(element, a->values, a->dim, p, k), sum);
    }
    *out = sum;
  }
}

// Queries of which each sees something.
QK_INLINE QK_AVX2 void tile(qk_kv element, const int queries, page a) {
  tile_weights weights;
  float corrections[QUERIES];
  size_t from = QK_PAGE_POSITIONS;
  size_t to = 0;
  for (int i = 0; i < queries; i++) {
    from = (size_t)a.first[i] < from ? (size_t)a.first[i] : from;
    to = (size_t)a.visible[i] > to ? (size_t)a.visible[i] : to;
  }
  score(element, queries, &a, from, to, weights);
  for (int i = 0; i < queries; i++) {
    corrections[i] = soften(weights[i], a.value_scales, (size_t)a.first[i], (size_t)a.visible[i],
                            a.maximum + i, a.sum + i);
  }
  const ranges r = common_range(queries, a);
  size_t k = 0;
  while (k + 8 <= a.dim) {
    const int vectors = vectors_of(queries, (a.dim - k) / 8);
    switch (vectors) {
    case 8: if (queries == 1) weigh(element, queries, 8, a, &r, weights, corrections, k); break;
    case 4: if (queries <= 2) weigh(element, queries, 4, a, &r, weights, corrections, k); break;
    case 3: if (queries == 3 || queries == 4) weigh(element, queries, 3, a, &r, weights, corrections, k); break;
    case 2: weigh(element, queries, 2, a, &r, weights, corrections, k); break;
    default: weigh(element, queries, 1, a, &r, weights, corrections, k); break;
    }
    k += 8 * (size_t)vectors;
  }
  for (; k < a.dim; k++) {
    weigh_one(element, (size_t)queries, &a, weights, corrections, k);
  }
}

QK_INLINE QK_AVX2 void attend(qk_kv element, size_t queries, page a) {
  while (queries > 0) {
    size_t seeing = 0;
    while (seeing < queries && seeing < 9 && a.first[seeing] < a.visible[seeing]) {
      seeing++;
    }
    // 7 are 4 and 3: with two vectors they would want 14 sums, and a load for each product.
    size_t done = seeing > 8 ? 6 : seeing > 6 ? 4 : seeing;
    switch (done) {
    case 0: done = 1; break;
    case 1: tile(element, 1, a); break;
    case 2: tile(element, 2, a); break;
    case 3: tile(element, 3, a); break;
    case 4: tile(element, 4, a); break;
    case 5: tile(element, 5, a); break;
    default: tile(element, 6, a); break;
    }
    queries -= done;
    a.q += done * a.q_stride;
    a.out += done * a.out_stride;
    a.first += done;
    a.visible += done;
    a.maximum += done;
    a.sum += done;
    // What comes next is fetched once.
    a.ahead = a.keys;
  }
}

// Many queries share what is decoded once; it lies where scratch of the stack is no burden. 4 bits are decoded more cheaply
// 4 vectors at a time.
enum { DECODED_DIM = 128 };
QK_INLINE size_t decoded_queries(qk_kv element) { return element == QK_KV_Q4 ? 4 : 16; }

// The keys of 16 positions of 4 bits; dim is a multiple of 16.
QK_INLINE QK_AVX2 void decode_block(page a, size_t p, float *keys) {
  for (size_t start = 0; start < a.dim; start += 32) {
    qk_key_scales scales;
    qk_key_scales_of(a.keys, start / 32, p, QK_KEY_BLOCK, &scales);
    const __m256 d[2] = {_mm256_loadu_ps(scales.d + p), _mm256_loadu_ps(scales.d + p + 8)};
    const __m256 m[2] = {_mm256_loadu_ps(scales.m + p), _mm256_loadu_ps(scales.m + p + 8)};
    const size_t end = start + 32 < a.dim ? start + 32 : a.dim;
    for (size_t k = start; k < end; k += k % 8 == 7 ? 9 : 1) {
      const __m128i bytes = _mm_loadu_si128((const __m128i *)qk_key_units(QK_KV_Q4, a.keys, a.dim, p, k));
      const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
      const __m128i four[4] = {low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)};
      float *target = keys + qk_key_place(a.dim, p, k);
      QK_UNROLL for (int i = 0; i < 4; i++) {
        const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(four[i]));
        _mm256_storeu_ps(target + i / 2 * 8 * QK_KEY_BLOCK + i % 2 * 8, _mm256_fmadd_ps(d[i % 2], q, m[i % 2]));
      }
    }
  }
}

QK_INLINE QK_AVX2 void decode_keys(qk_kv element, page a, size_t from, size_t to, float *keys) {
  for (size_t p = from / QK_KEY_BLOCK * QK_KEY_BLOCK; p < to; p += QK_KEY_BLOCK) {
    if (element == QK_KV_Q4 && a.dim % 16 == 0) {
      decode_block(a, p, keys);
      continue;
    }
    qk_key_scales scales;
    for (size_t k = 0; k < a.dim; k++) {
      if (element == QK_KV_Q4 && k % 32 == 0) qk_key_scales_of(a.keys, k / 32, p, QK_KEY_BLOCK, &scales);
      float *target = keys + qk_key_place(a.dim, p, k);
      _mm256_storeu_ps(target, qk_key_load8(element, a.keys, a.dim, p, k, k / 8 % 2, &scales));
      _mm256_storeu_ps(target + 8, qk_key_load8(element, a.keys, a.dim, p + 8, k, k / 8 % 2, &scales));
    }
  }
}

// 32 elements of 4 bits, from element k on.
QK_INLINE QK_AVX2 void decode_group(qk_kv_row row, size_t k, float *values) {
  int32_t pair;
  memcpy(&pair, row.scales + k / 32 * 4, sizeof pair);
  const __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(pair));
  const __m256 d = _mm256_broadcastss_ps(scales), m = _mm256_broadcastss_ps(_mm_movehdup_ps(scales));
  const __m128i bytes = _mm_loadu_si128((const __m128i *)(row.data + k / 2));
  const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
  const __m128i four[4] = {low, high, _mm_unpackhi_epi64(low, low), _mm_unpackhi_epi64(high, high)};
  QK_UNROLL for (int i = 0; i < 4; i++) {
    const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(four[i]));
    _mm256_storeu_ps(values + 8 * i, _mm256_fmadd_ps(d, q, m));
  }
}

QK_INLINE QK_AVX2 void decode_values(qk_kv element, page a, size_t from, size_t to, float *values) {
  for (size_t p = from; p < to; p++) {
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    size_t k = 0;
    if (element == QK_KV_Q4) {
      for (; k + 32 <= a.dim; k += 32) decode_group(row, k, values + p * a.dim + k);
    }
    for (; k + 8 <= a.dim; k += 8) _mm256_storeu_ps(values + p * a.dim + k, qk_value_load8(element, row, k));
    for (; k < a.dim; k++) values[p * a.dim + k] = qk_value_code(element, a.values, a.dim, p, k);
  }
}

static __attribute__((noinline)) QK_AVX2 void attend_floats(size_t queries, page a) {
  attend(QK_KV_F32, queries, a);
}

QK_INLINE QK_AVX2 void attend_decoded(qk_kv element, size_t queries, page a) {
  float keys[QK_PAGE_POSITIONS * DECODED_DIM];
  float values[QK_PAGE_POSITIONS * DECODED_DIM];
  int32_t from = QK_PAGE_POSITIONS;
  int32_t to = 0;
  for (size_t i = 0; i < queries; i++) {
    from = a.first[i] < from ? a.first[i] : from;
    to = a.visible[i] > to ? a.visible[i] : to;
  }
  if (from >= to) return;
  decode_keys(element, a, (size_t)from, (size_t)to, keys);
  decode_values(element, a, (size_t)from, (size_t)to, values);
  a.keys = a.ahead = (const uint8_t *)keys;
  a.values = (const uint8_t *)values;
  attend_floats(queries, a);
}

#define QK_PAGE(format, element)                                                                \
  QK_AVX2 void qk_attention_page_##format##_avx2(                                               \
      const float *q, size_t q_stride, size_t queries, const void *keys, const void *values,    \
      const void *ahead, size_t dim, const int32_t *first, const int32_t *visible,              \
      float *maximum, float *sum, float *out, size_t out_stride) {                              \
    page a = {q,     q_stride, keys,    values, ahead, dim,                                     \
              first, visible,  maximum, sum,    out,   out_stride, 0, 0};                       \
    if (element == QK_KV_Q8) a.key_scales = keys, a.value_scales = values;                      \
    if (element >= QK_KV_Q8 && queries >= decoded_queries(element) && dim <= DECODED_DIM) {              \
      attend_decoded(element, queries, a);                                                      \
    } else {                                                                                    \
      attend(element, queries, a);                                                              \
    }                                                                                           \
  }

QK_PAGE(f32, QK_KV_F32)
QK_PAGE(f16, QK_KV_F16)
QK_PAGE(q8, QK_KV_Q8)
QK_PAGE(q4, QK_KV_Q4)

#endif
