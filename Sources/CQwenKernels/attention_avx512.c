// Attention over one page with AVX-512: up to 8 queries share each load of keys and of values. Sums have the shapes of
// attention.c.
//
// Vectors of keys hold 16 positions, those of values 16 elements. Factors are broadcast by loads; with 5 queries or more
// two vectors are in flight, 10 to 16 sums, with fewer up to eight.
#include "exp_avx512.h"
#include "kv_avx2.h"
#include "twins.h"

#if QK_X86

enum {
  QUERIES = 8, // of a tile
  SUMS = 16,
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

// The bits of the first `count` elements, up to 16.
QK_INLINE __mmask16 first_of(size_t count) { return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1); }

// Elements k ... k + 15 of a value, those that `mask` has; k is a multiple of 16. Of 8 bits the codes.
QK_INLINE QK_AVX512 __m512 load_value(qk_kv element, qk_kv_row r, size_t k, __mmask16 mask) {
  if (element == QK_KV_F32) return _mm512_maskz_loadu_ps(mask, r.data + 4 * k);
  if (element == QK_KV_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, r.data + 2 * k));
  if (element == QK_KV_Q8) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, r.data + k)));
  }
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)(r.data + k / 2));
  const __m128i both = _mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4));
  const __m512i q = _mm512_cvtepu8_epi32(_mm_and_si128(both, _mm_set1_epi8(15)));
  int32_t pair;
  memcpy(&pair, r.scales + k / 32 * 4, sizeof pair);
  const __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(pair));
  return _mm512_fmadd_ps(_mm512_broadcastss_ps(scales), _mm512_cvtepi32_ps(q),
                         _mm512_broadcastss_ps(_mm_movehdup_ps(scales)));
}

// Element k of the 16 positions from `position` on; of 8 bits the codes. Of 4 bits, is_high is k / 8 % 2 and `scales` are those of the element's
// group.
QK_INLINE QK_AVX512 __m512 load_keys(qk_kv element, page a, size_t position, size_t k, const int is_high,
                                     const qk_key_scales *scales) {
  const uint8_t *source = qk_key_units(element, a.keys, a.dim, position, k);
  if (element == QK_KV_F32) return _mm512_loadu_ps(source);
  if (element == QK_KV_F16) return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)source));
  const __m128i bytes = _mm_loadu_si128((const __m128i *)source);
  if (element == QK_KV_Q8) return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  const __m512i both = _mm512_cvtepu8_epi32(bytes);
  const __m512i four = is_high ? _mm512_srli_epi32(both, 4) : _mm512_and_si512(both, _mm512_set1_epi32(15));
  return _mm512_fmadd_ps(_mm512_loadu_ps(scales->d + position), _mm512_cvtepi32_ps(four),
                         _mm512_loadu_ps(scales->m + position));
}

// Scores of the positions from ... to and of those that share a vector with them. Meanwhile the values are fetched.
QK_INLINE QK_AVX512 void score(qk_kv element, const int queries, const int vectors, page a, size_t from,
                               size_t to, tile_weights weights) {
  const size_t step = 16 * (size_t)vectors;
  const uint8_t *keys_data = qk_key_units(element, a.keys, a.dim, 0, 0);
  const uint8_t *values_data = qk_kv_row_at(element, a.values, a.dim, 0);
  const float *q[QUERIES];
  QK_UNROLL for (int i = 0; i < queries; i++) q[i] = a.q + (size_t)i * a.q_stride;
  for (size_t p = from / step * step; p < to; p += step) {
    // What is read of blocks that lie apart is fetched as one run of values.
    const uint8_t *fetched = values_data + (qk_key_units(element, a.keys, a.dim, p, 0) - keys_data);
    qk_key_scales scales;
    __m512 sums[SUMS];
    QK_UNROLL for (int i = 0; i < queries * vectors; i++) sums[i] = _mm512_setzero_ps();
    // Runs of elements whose bits lie alike.
    const size_t run = element == QK_KV_Q4 ? 8 : a.dim;
    for (size_t start = 0; start < a.dim; start += 4 * run) {
      if (element == QK_KV_Q4) qk_key_scales_of(a.keys, start / 32, p, step, &scales);
      QK_UNROLL for (int part = 0; part < (element == QK_KV_Q4 ? 4 : 1); part++) {
        const size_t first = start + (size_t)part * run;
        const size_t end = first + run < a.dim ? first + run : a.dim;
        for (size_t k = first; k < end; k++) {
          __m512 keys[4];
          qk_fetch(fetched, qk_kv_span(element, step));
          fetched += qk_kv_span(element, step);
          QK_UNROLL for (int j = 0; j < vectors; j++) {
            keys[j] = load_keys(element, a, p + 16 * (size_t)j, k, part % 2, &scales);
          }
          QK_UNROLL for (int i = 0; i < queries; i++) {
            const __m512 factor = _mm512_set1_ps(q[i][k]);
            QK_UNROLL for (int j = 0; j < vectors; j++) {
              sums[i * vectors + j] = _mm512_fmadd_ps(factor, keys[j], sums[i * vectors + j]);
            }
          }
        }
      }
    }
    QK_UNROLL for (int i = 0; i < queries; i++) {
      QK_UNROLL for (int j = 0; j < vectors; j++) {
        __m512 score = sums[i * vectors + j];
        if (a.key_scales) score = _mm512_mul_ps(score, _mm512_loadu_ps(a.key_scales + p + 16 * (size_t)j));
        _mm512_storeu_ps(weights[i] + p + 16 * j, score);
      }
    }
  }
}

QK_INLINE QK_AVX512 __m256 fold(__m512 lanes, const int is_maximum) {
  const __m256 low = _mm512_castps512_ps256(lanes), high = _mm512_extractf32x8_ps(lanes, 1);
  return is_maximum ? _mm256_max_ps(low, high) : _mm256_add_ps(low, high);
}

// Turns the scores of one query into weights and updates its maximum and sum; gives the correction. Hidden positions weigh
// exp(-infinity) = 0.
QK_INLINE QK_AVX512 float soften(float *weights, const float *scales, size_t from, size_t to, float *maximum,
                                 float *sum) {
  const uint64_t seen = ~0ull >> (QK_PAGE_POSITIONS - to) & ~0ull << from;
  const float before = *maximum;
  __m512 scores[4];
  __m512 most = _mm512_set1_ps(before);
  QK_UNROLL for (int j = 0; j < 4; j++) {
    const __mmask16 mask = (__mmask16)(seen >> 16 * j);
    scores[j] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), mask, weights + 16 * j);
    most = _mm512_max_ps(scores[j], most);
  }
  float now = before;
  if (_mm512_cmp_ps_mask(most, _mm512_set1_ps(before), _CMP_GT_OQ) != 0) {
    const __m256 eight = fold(most, 1);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    now = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  const float base = now == -INFINITY ? 0 : now;
  const float correction = before == base ? 1 : qk_exp_scalar(before - base);
  const __m512 bases = _mm512_set1_ps(base);
  __m512 total = _mm512_setzero_ps();
  QK_UNROLL for (int j = 0; j < 4; j++) {
    __m512 w = qk_exp16_bounded(_mm512_sub_ps(scores[j], bases));
    total = _mm512_add_ps(total, w);
    if (scales) w = _mm512_mul_ps(w, _mm512_loadu_ps(scales + 16 * j));
    _mm512_storeu_ps(weights + 16 * j, w);
  }
  *maximum = now;
  *sum = fmaf(*sum, correction, qk_sum8(fold(total, 0)));
  return correction;
}

// Adds the weighted values of the positions from ... to for one query.
QK_INLINE QK_AVX512 void add_alone(qk_kv element, const int vectors, page a, const float *weights, size_t from,
                                   size_t to, size_t k, __mmask16 mask, __m512 *sums) {
  for (size_t p = from; p < to; p++) {
    const __m512 w = _mm512_set1_ps(weights[p]);
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      sums[j] = _mm512_fmadd_ps(w, load_value(element, row, k + 16 * (size_t)j, mask), sums[j]);
    }
  }
}

// Adds weighted values to vectors x 16 elements of the outputs, from element k on; one vector may be a part, as `mask` has
// it. All queries of the tile see the positions from ... to, and alone those before and behind. Meanwhile the next keys are
// fetched.
QK_INLINE QK_AVX512 void weigh(qk_kv element, const int queries, const int vectors, page a, size_t from, size_t to,
                               tile_weights weights, const float *corrections, size_t k, __mmask16 mask) {
  __m512 sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      sums[i * vectors + j] =
          _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, out + 16 * j), _mm512_set1_ps(corrections[i]));
    }
    const size_t first = (size_t)a.first[i], visible = (size_t)a.visible[i];
    add_alone(element, vectors, a, weights[i], first, visible < from ? visible : from, k, mask, sums + i * vectors);
  }
  const size_t span = qk_kv_span(element, 16 * (size_t)vectors);
  const uint8_t *ahead = qk_kv_row_at(element, a.ahead, a.dim, 0) + qk_kv_span(element, k * QK_PAGE_POSITIONS);
  for (size_t p = from; p < to; p++) {
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    __m512 values[8];
    qk_fetch(ahead + p * span, span);
    QK_UNROLL for (int j = 0; j < vectors; j++) values[j] = load_value(element, row, k + 16 * (size_t)j, mask);
    QK_UNROLL for (int i = 0; i < queries; i++) {
      const __m512 w = _mm512_set1_ps(weights[i][p]);
      QK_UNROLL for (int j = 0; j < vectors; j++) {
        sums[i * vectors + j] = _mm512_fmadd_ps(w, values[j], sums[i * vectors + j]);
      }
    }
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const size_t first = (size_t)a.first[i];
    add_alone(element, vectors, a, weights[i], first > to ? first : to, (size_t)a.visible[i], k, mask,
              sums + i * vectors);
    float *out = a.out + (size_t)i * a.out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      _mm512_mask_storeu_ps(out + 16 * j, mask, sums[i * vectors + j]);
    }
  }
}

// Queries of which each sees something.
QK_INLINE QK_AVX512 void tile(qk_kv element, const int queries, page a) {
  tile_weights weights;
  float corrections[QUERIES];
  size_t from = QK_PAGE_POSITIONS, to = 0;          // what any sees
  size_t common = 0, common_to = QK_PAGE_POSITIONS; // what all see
  for (int i = 0; i < queries; i++) {
    const size_t first = (size_t)a.first[i], visible = (size_t)a.visible[i];
    from = first < from ? first : from;
    to = visible > to ? visible : to;
    common = first > common ? first : common;
    common_to = visible < common_to ? visible : common_to;
  }
  // Where they have nothing in common, all is behind it.
  if (common >= common_to) common = common_to = 0;
  score(element, queries, queries <= 4 ? 4 : 2, a, from, to, weights);
  for (int i = 0; i < queries; i++) {
    corrections[i] =
        soften(weights[i], a.value_scales, (size_t)a.first[i], (size_t)a.visible[i], a.maximum + i, a.sum + i);
  }
  const int vectors = queries <= 2 ? 8 / queries : queries <= 4 ? 4 : 2;
  size_t k = 0;
  for (; k + 16 * (size_t)vectors <= a.dim; k += 16 * (size_t)vectors) {
    weigh(element, queries, vectors, a, common, common_to, weights, corrections, k, 0xffff);
  }
  for (; k < a.dim; k += 16) {
    weigh(element, queries, 1, a, common, common_to, weights, corrections, k, first_of(a.dim - k));
  }
}

QK_INLINE QK_AVX512 void attend(qk_kv element, size_t queries, page a) {
  while (queries > 0) {
    size_t done = 0;
    while (done < queries && done < QUERIES && a.first[done] < a.visible[done]) {
      done++;
    }
    switch (done) {
    case 0: done = 1; break;
    case 1: tile(element, 1, a); break;
    case 2: tile(element, 2, a); break;
    case 3: tile(element, 3, a); break;
    case 4: tile(element, 4, a); break;
    case 5: tile(element, 5, a); break;
    case 6: tile(element, 6, a); break;
    case 7: tile(element, 7, a); break;
    default: tile(element, 8, a); break;
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

// Many queries share what is decoded once; it lies where scratch of the stack is no burden.
enum { DECODED_DIM = 128, DECODED_QUERIES = 3 * QUERIES };

QK_INLINE QK_AVX512 void decode(qk_kv element, page a, size_t from, size_t to, float *keys, float *values) {
  for (size_t p = from / QK_KEY_BLOCK * QK_KEY_BLOCK; p < to; p += QK_KEY_BLOCK) {
    qk_key_scales scales;
    for (size_t k = 0; k < a.dim; k++) {
      if (element == QK_KV_Q4 && k % 32 == 0) qk_key_scales_of(a.keys, k / 32, p, QK_KEY_BLOCK, &scales);
      _mm512_storeu_ps(keys + qk_key_place(a.dim, p, k), load_keys(element, a, p, k, k / 8 % 2, &scales));
    }
  }
  for (size_t p = from; p < to; p++) {
    const qk_kv_row row = qk_kv_row_of(element, a.values, a.dim, p);
    for (size_t k = 0; k < a.dim; k += 16) {
      const __mmask16 mask = first_of(a.dim - k);
      _mm512_mask_storeu_ps(values + p * a.dim + k, mask, load_value(element, row, k, mask));
    }
  }
}

static __attribute__((noinline)) QK_AVX512 void attend_floats(size_t queries, page a) {
  attend(QK_KV_F32, queries, a);
}

QK_INLINE QK_AVX512 void attend_decoded(qk_kv element, size_t queries, page a) {
  float keys[QK_PAGE_POSITIONS * DECODED_DIM];
  float values[QK_PAGE_POSITIONS * DECODED_DIM];
  int32_t from = QK_PAGE_POSITIONS;
  int32_t to = 0;
  for (size_t i = 0; i < queries; i++) {
    from = a.first[i] < from ? a.first[i] : from;
    to = a.visible[i] > to ? a.visible[i] : to;
  }
  if (from >= to) return;
  decode(element, a, (size_t)from, (size_t)to, keys, values);
  a.keys = a.ahead = (const uint8_t *)keys;
  a.values = (const uint8_t *)values;
  attend_floats(queries, a);
}

#define QK_PAGE(format, element)                                                                \
  QK_AVX512 void qk_attention_page_##format##_avx512(                                           \
      const float *q, size_t q_stride, size_t queries, const void *keys, const void *values,    \
      const void *ahead, size_t dim, const int32_t *first, const int32_t *visible,              \
      float *maximum, float *sum, float *out, size_t out_stride) {                              \
    page a = {q,     q_stride, keys,    values, ahead, dim,                                     \
              first, visible,  maximum, sum,    out,   out_stride, 0, 0};                       \
    if (element == QK_KV_Q8) a.key_scales = keys, a.value_scales = values;                      \
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
