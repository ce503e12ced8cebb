// Attention over one page with AVX2: a few queries at a time share each load of a key and of a
// value. Sums have the shapes of attention.c.
#include "exp_avx2.h"
#include "kv_avx2.h"
#include "twins.h"

#if QK_X86

enum {
  QUERIES = 4, // of a tile
  SUMS = 8,    // vectors of sums in flight: queries x positions, or queries x pieces of a value
};

typedef struct {
  const float *q;
  size_t q_stride;
  const uint8_t *keys, *values;
  size_t dim;
  const int32_t *first, *visible;
  float *maximum, *sum, *out;
  size_t out_stride;
} page;

// Scores, then weights, of the queries of a tile; rows end behind the page for whole tiles.
typedef float tile_weights[QUERIES][QK_PAGE_POSITIONS + SUMS];

// The elements from k on, fewer than 8, then zeros. Rare, so kept out of line.
static __attribute__((noinline)) QK_AVX2 __m256 load_part(qk_kv element, const uint8_t *run,
                                                          size_t dim, size_t position, size_t k) {
  float padded[8] = {0};
  for (size_t l = 0; k + l < dim; l++) {
    padded[l] = qk_kv_value(element, run, dim, position, k + l);
  }
  return _mm256_loadu_ps(padded);
}

// The sums of 8 vectors, each in the order of qk_sum_lanes.
QK_INLINE QK_AVX2 __m256 sum_each(const __m256 v[SUMS]) {
  __m256 s[4];
  QK_UNROLL for (int i = 0; i < 4; i++) {
    const __m256 low = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
    const __m256 high = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    s[i] = _mm256_add_ps(low, high);
  }
  const __m256 a =
      _mm256_add_ps(_mm256_unpacklo_ps(s[0], s[1]), _mm256_unpackhi_ps(s[0], s[1]));
  const __m256 b =
      _mm256_add_ps(_mm256_unpacklo_ps(s[2], s[3]), _mm256_unpackhi_ps(s[2], s[3]));
  return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
}

// Scores of the positions from ... to, a tile of SUMS / queries positions at a time.
QK_INLINE QK_AVX2 void score(qk_kv element, const int queries, page a, size_t from, size_t to,
                             tile_weights weights) {
  const int positions = SUMS / queries;
  for (size_t p = from; p < to; p += (size_t)positions) {
    qk_kv_row key[SUMS];
    size_t place[SUMS];
    QK_UNROLL for (int j = 0; j < positions; j++) {
      place[j] = p + (size_t)j < to ? p + (size_t)j : to - 1;
      key[j] = qk_kv_row_of(element, a.keys, a.dim, place[j]);
    }
    __m256 sums[SUMS];
    QK_UNROLL for (int i = 0; i < SUMS; i++) { sums[i] = _mm256_setzero_ps(); }
    qk_kv_prefetch(element, a.values, a.dim, p, (size_t)positions);
    size_t k = 0;
    for (; k + 8 <= a.dim; k += 8) {
      __m256 q[QUERIES];
      QK_UNROLL for (int i = 0; i < queries; i++) {
        q[i] = _mm256_loadu_ps(a.q + (size_t)i * a.q_stride + k);
      }
      QK_UNROLL for (int j = 0; j < positions; j++) {
        const __m256 value = qk_kv_load8(element, key[j], k);
        QK_UNROLL for (int i = 0; i < queries; i++) {
          sums[i * positions + j] = _mm256_fmadd_ps(value, q[i], sums[i * positions + j]);
        }
      }
    }
    if (k < a.dim) {
      for (int j = 0; j < positions; j++) {
        const __m256 value = load_part(element, a.keys, a.dim, place[j], k);
        for (int i = 0; i < queries; i++) {
          const uint8_t *source = (const uint8_t *)(a.q + (size_t)i * a.q_stride + k);
          const __m256 q = qk_load_part(QK_F32, source, a.dim - k);
          sums[i * positions + j] = _mm256_fmadd_ps(value, q, sums[i * positions + j]);
        }
      }
    }
    float scores[SUMS];
    _mm256_storeu_ps(scores, sum_each(sums));
    QK_UNROLL for (int i = 0; i < queries; i++) {
      memcpy(weights[i] + p, scores + i * positions, (size_t)positions * sizeof(float));
    }
  }
}

// Turns the scores of one query into weights and updates its maximum and sum; gives the correction.
QK_INLINE QK_AVX2 float soften(float *weights, size_t from, size_t to, float *maximum, float *sum) {
  // Whole vectors from here on: what is hidden weighs exp(-infinity) = 0.
  const size_t start = from / 8 * 8;
  const size_t end = (to + 7) / 8 * 8;
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
  float lanes[8];
  _mm256_storeu_ps(lanes, most);
  for (size_t l = 0; l < 8; l++) {
    now = lanes[l] > now ? lanes[l] : now;
  }
  const float base = now == -INFINITY ? 0 : now;
  const float correction = qk_exp_scalar(*maximum - base);
  __m256 total = _mm256_setzero_ps();
  for (size_t p = start; p < end; p += 8) {
    const __m256 w = qk_exp8(_mm256_sub_ps(_mm256_loadu_ps(weights + p), _mm256_set1_ps(base)));
    _mm256_storeu_ps(weights + p, w);
    total = _mm256_add_ps(total, w);
  }
  *maximum = now;
  *sum = fmaf(*sum, correction, qk_sum8(total));
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

// Adds weighted values to pieces x 8 elements of the outputs, from element k on.
QK_INLINE QK_AVX2 void weigh(qk_kv element, const int queries, const int pieces, page a,
                             const ranges *r, tile_weights weights, const float *corrections,
                             size_t k) {
  __m256 sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < pieces; j++) {
      sums[i * pieces + j] =
          _mm256_mul_ps(_mm256_loadu_ps(out + 8 * j), _mm256_set1_ps(corrections[i]));
    }
    for (size_t p = (size_t)a.first[i]; p < r->alone_to[i]; p++) {
      const __m256 w = _mm256_set1_ps(weights[i][p]);
      QK_UNROLL for (int j = 0; j < pieces; j++) {
        const __m256 v = qk_kv_load8(element, qk_kv_row_of(element, a.values, a.dim, p), k + 8 * (size_t)j);
        sums[i * pieces + j] = _mm256_fmadd_ps(w, v, sums[i * pieces + j]);
      }
    }
  }
  for (size_t p = r->from; p < r->to; p++) {
    QK_UNROLL for (int j = 0; j < pieces; j++) {
      const __m256 v = qk_kv_load8(element, qk_kv_row_of(element, a.values, a.dim, p), k + 8 * (size_t)j);
      QK_UNROLL for (int i = 0; i < queries; i++) {
        const __m256 w = _mm256_set1_ps(weights[i][p]);
        sums[i * pieces + j] = _mm256_fmadd_ps(w, v, sums[i * pieces + j]);
      }
    }
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    for (size_t p = r->alone_from[i]; p < (size_t)a.visible[i]; p++) {
      const __m256 w = _mm256_set1_ps(weights[i][p]);
      QK_UNROLL for (int j = 0; j < pieces; j++) {
        const __m256 v = qk_kv_load8(element, qk_kv_row_of(element, a.values, a.dim, p), k + 8 * (size_t)j);
        sums[i * pieces + j] = _mm256_fmadd_ps(w, v, sums[i * pieces + j]);
      }
    }
    float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < pieces; j++) {
      _mm256_storeu_ps(out + 8 * j, sums[i * pieces + j]);
    }
  }
}

// One element of each output.
QK_INLINE QK_AVX2 void weigh_one(qk_kv element, const int queries, page a,
                                 tile_weights weights, const float *corrections, size_t k) {
  for (int i = 0; i < queries; i++) {
    float *out = a.out + (size_t)i * a.out_stride + k;
    float sum = *out * corrections[i];
    for (size_t p = (size_t)a.first[i]; p < (size_t)a.visible[i]; p++) {
      sum = fmaf(weights[i][p], qk_kv_value(element, a.values, a.dim, p, k), sum);
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
  score(element, queries, a, from, to, weights);
  for (int i = 0; i < queries; i++) {
    corrections[i] = soften(weights[i], (size_t)a.first[i], (size_t)a.visible[i], a.maximum + i,
                            a.sum + i);
  }
  const ranges r = common_range(queries, a);
  const int pieces = SUMS / queries;
  size_t k = 0;
  for (; k + 8 * (size_t)pieces <= a.dim; k += 8 * (size_t)pieces) {
    weigh(element, queries, pieces, a, &r, weights, corrections, k);
  }
  for (; k + 8 <= a.dim; k += 8) {
    weigh(element, queries, 1, a, &r, weights, corrections, k);
  }
  for (; k < a.dim; k++) {
    weigh_one(element, queries, a, weights, corrections, k);
  }
}

QK_INLINE QK_AVX2 void attend(qk_kv element, size_t queries, page a) {
  while (queries > 0) {
    size_t seeing = 0;
    while (seeing < queries && seeing < QUERIES && a.first[seeing] < a.visible[seeing]) {
      seeing++;
    }
    size_t done = 1;
    if (seeing == QUERIES) {
      tile(element, QUERIES, a);
      done = QUERIES;
    } else if (seeing >= 2) {
      tile(element, 2, a);
      done = 2;
    } else if (seeing == 1) {
      tile(element, 1, a);
    }
    queries -= done;
    a.q += done * a.q_stride;
    a.out += done * a.out_stride;
    a.first += done;
    a.visible += done;
    a.maximum += done;
    a.sum += done;
  }
}

// Many queries share what is decoded once; it lies where scratch of the stack is no burden.
enum { DECODED_DIM = 128, DECODED_QUERIES = 8 };

static __attribute__((noinline)) QK_AVX2 void decode_run(qk_kv element, const uint8_t *run,
                                                         size_t dim, size_t from, size_t to,
                                                         float *values) {
  for (size_t p = from; p < to; p++) {
    const qk_kv_row r = qk_kv_row_of(element, run, dim, p);
    size_t k = 0;
    if (element == QK_KV_Q8) {
      for (; k + 8 <= dim; k += 8) _mm256_storeu_ps(values + p * dim + k, qk_kv_load8(QK_KV_Q8, r, k));
    } else if (element == QK_KV_Q4) {
      for (; k + 8 <= dim; k += 8) _mm256_storeu_ps(values + p * dim + k, qk_kv_load8(QK_KV_Q4, r, k));
    }
    for (; k < dim; k++) values[p * dim + k] = qk_kv_value(element, run, dim, p, k);
  }
}

static __attribute__((noinline)) QK_AVX2 void attend_decoded(qk_kv element, size_t queries,
                                                             page a) {
  float keys[QK_PAGE_POSITIONS * DECODED_DIM];
  float values[QK_PAGE_POSITIONS * DECODED_DIM];
  int32_t from = QK_PAGE_POSITIONS;
  int32_t to = 0;
  for (size_t i = 0; i < queries; i++) {
    from = a.first[i] < from ? a.first[i] : from;
    to = a.visible[i] > to ? a.visible[i] : to;
  }
  if (from >= to) return;
  decode_run(element, a.keys, a.dim, (size_t)from, (size_t)to, keys);
  decode_run(element, a.values, a.dim, (size_t)from, (size_t)to, values);
  a.keys = (const uint8_t *)keys;
  a.values = (const uint8_t *)values;
  attend(QK_KV_F32, queries, a);
}

#define QK_PAGE(format, element)                                                                \
  QK_AVX2 void qk_attention_page_##format##_avx2(                                               \
      const float *q, size_t q_stride, size_t queries, const void *keys, const void *values,    \
      size_t dim, const int32_t *first, const int32_t *visible, float *maximum, float *sum,     \
      float *out, size_t out_stride) {                                                          \
    const page a = {q, q_stride, keys, values, dim, first, visible, maximum, sum, out,          \
                    out_stride};                                                                \
    if (element >= QK_KV_Q8 && queries >= DECODED_QUERIES && dim <= DECODED_DIM) {              \
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
