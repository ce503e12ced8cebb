// Attention over one page with AVX-512: up to 8 queries share each load of a key and of a value. Sums have the shapes of
// attention.c.
//
// A score has 8 lanes, so the halves of a vector belong to two queries: i and i + 4. Two positions of 4 such pairs are 8 sums,
// which end as one vector of scores [2 positions][8 queries]; maxima, weights and their sums are computed for all
// queries at once. With 4 pairs a key costs one conversion and 4 multiplications for 8 elements, where AVX2, in tiles of
// 4, 2 and 1 queries, has 3 and 7. Fewer queries, and sizes that are no multiple of 16, are left to AVX2.
#include "exp_avx512.h"
#include "kv_avx2.h"
#include "twins.h"

#if QK_X86

enum {
  QUERIES = 8,
  FEWEST = 5, // queries for which a tile pays
  MOST_DIM = 256,
  PIECES = 2, // vectors of an output in flight: 16 sums, 2 values and a weight
};

typedef struct {
  const uint8_t *keys, *values;
  size_t dim;
  // Pairs of queries: [dim / 8][4].
  __m512 q[MOST_DIM / 8 * 4];
  // Scores, then weights.
  float weights[QK_PAGE_POSITIONS + 1][QUERIES];
  float corrections[QUERIES];
  int32_t first[QUERIES], visible[QUERIES];
} tile;

// 8 elements, the same in both halves.
QK_INLINE QK_AVX512 __m512 load_twice(qk_kv element, qk_kv_row r, size_t k) {
  if (element == QK_KV_F32) {
    return _mm512_broadcast_f32x8(_mm256_loadu_ps((const float *)r.data + k));
  }
  if (element == QK_KV_F16) {
    const __m128i bits = _mm_loadu_si128((const __m128i *)(r.data + 2 * k));
    return _mm512_cvtph_ps(_mm256_broadcastsi128_si256(bits));
  }
  return _mm512_broadcast_f32x8(qk_kv_load8(element, r, k));
}

QK_INLINE QK_AVX512 __m512 load16(qk_kv element, qk_kv_row r, size_t k) {
  if (element == QK_KV_F32) {
    return _mm512_loadu_ps((const float *)r.data + k);
  }
  if (element == QK_KV_F16) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(r.data + 2 * k)));
  }
  const __m512 low = _mm512_castps256_ps512(qk_kv_load8(element, r, k));
  return _mm512_insertf32x8(low, qk_kv_load8(element, r, k + 8), 1);
}

// The sums of 8 vectors of two halves, each half in the order of qk_sum_lanes: those of the first halves of v[0 ... 3], of
// their second halves, and the same of v[4 ... 7].
QK_INLINE QK_AVX512 __m512 sum_halves(const __m512 v[8]) {
  __m512 s[4];
  QK_UNROLL for (int i = 0; i < 4; i++) {
    const __m512 low = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
    const __m512 high = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
    s[i] = _mm512_add_ps(low, high);
  }
  const __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(s[0], s[1]), _mm512_unpackhi_ps(s[0], s[1]));
  const __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(s[2], s[3]), _mm512_unpackhi_ps(s[2], s[3]));
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}

// Scores of the positions from ... to, two at a time.
QK_INLINE QK_AVX512 void score(qk_kv element, tile *t, size_t from, size_t to) {
  for (size_t p = from; p < to; p += 2) {
    const size_t next = p + 1 < to ? p + 1 : p;
    const qk_kv_row a = qk_kv_row_of(element, t->keys, t->dim, p);
    const qk_kv_row b = qk_kv_row_of(element, t->keys, t->dim, next);
    __m512 sums[8];
    QK_UNROLL for (int i = 0; i < 8; i++) { sums[i] = _mm512_setzero_ps(); }
    qk_kv_prefetch(element, t->values, t->dim, p, 2);
    for (size_t k = 0; k < t->dim; k += 8) {
      const __m512 *q = t->q + k / 2;
      const __m512 first = load_twice(element, a, k);
      const __m512 second = load_twice(element, b, k);
      QK_UNROLL for (int i = 0; i < 4; i++) {
        sums[i] = _mm512_fmadd_ps(first, q[i], sums[i]);
        sums[i + 4] = _mm512_fmadd_ps(second, q[i], sums[i + 4]);
      }
    }
    _mm512_storeu_ps(t->weights[p], sum_halves(sums));
  }
}

// Turns scores into weights and updates maxima and sums. Hidden positions weigh exp(-infinity) = 0.
QK_INLINE QK_AVX512 void soften(tile *t, size_t from, size_t to, float *maximum, float *sum,
                                __mmask8 mask) {
  const size_t start = from / 8 * 8;
  const size_t end = (to + 7) / 8 * 8;
  const __m512i first = _mm512_broadcast_i32x8(_mm256_loadu_si256((const __m256i *)t->first));
  const __m512i visible = _mm512_broadcast_i32x8(_mm256_loadu_si256((const __m256i *)t->visible));
  const __m512i half = _mm512_inserti32x8(_mm512_setzero_si512(), _mm256_set1_epi32(1), 1);
  const __m256 before = _mm256_maskz_loadu_ps(mask, maximum);
  __m512 most = _mm512_broadcast_f32x8(before);
  for (size_t p = start; p < end; p += 2) {
    const __m512i place = _mm512_add_epi32(_mm512_set1_epi32((int32_t)p), half);
    const __mmask16 seen = _mm512_cmpge_epi32_mask(place, first) & _mm512_cmplt_epi32_mask(place, visible);
    const __m512 scores = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), seen, t->weights[p]);
    _mm512_storeu_ps(t->weights[p], scores);
    most = _mm512_max_ps(scores, most);
  }
  const __m256 now = _mm256_max_ps(_mm512_extractf32x8_ps(most, 1), _mm512_castps512_ps256(most));
  const __mmask8 none = _mm256_cmp_ps_mask(now, _mm256_set1_ps(-INFINITY), _CMP_EQ_OQ);
  const __m256 base = _mm256_mask_mov_ps(now, none, _mm256_setzero_ps());
  const __m256 correction = qk_exp8(_mm256_sub_ps(before, base));
  const __m512 bases = _mm512_broadcast_f32x8(base);
  __m512 totals[4];
  QK_UNROLL for (int i = 0; i < 4; i++) { totals[i] = _mm512_setzero_ps(); }
  for (size_t p = start; p < end; p += 8) {
    QK_UNROLL for (int i = 0; i < 4; i++) {
      float *place = t->weights[p + 2 * (size_t)i];
      const __m512 w = qk_exp16(_mm512_sub_ps(_mm512_loadu_ps(place), bases));
      _mm512_storeu_ps(place, w);
      totals[i] = _mm512_add_ps(totals[i], w);
    }
  }
  // Positions modulo 8 are 0 and 1, 2 and 3, ...: the order of qk_sum_lanes.
  const __m512 total =
      _mm512_add_ps(_mm512_add_ps(totals[0], totals[2]), _mm512_add_ps(totals[1], totals[3]));
  const __m256 page = _mm256_add_ps(_mm512_castps512_ps256(total), _mm512_extractf32x8_ps(total, 1));
  const __m256 sums = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, sum), correction, page);
  _mm256_mask_storeu_ps(maximum, mask, now);
  _mm256_mask_storeu_ps(sum, mask, sums);
  _mm256_storeu_ps(t->corrections, correction);
}

// Adds the weighted values of the positions from ... to for one query.
QK_INLINE QK_AVX512 void add_alone(qk_kv element, const int pieces, const tile *t, int query,
                                   size_t from, size_t to, size_t k, __m512 *sums) {
  for (size_t p = from; p < to; p++) {
    const __m512 w = _mm512_set1_ps(t->weights[p][query]);
    const qk_kv_row row = qk_kv_row_of(element, t->values, t->dim, p);
    QK_UNROLL for (int j = 0; j < pieces; j++) {
      sums[j] = _mm512_fmadd_ps(w, load16(element, row, k + 16 * (size_t)j), sums[j]);
    }
  }
}

// Adds weighted values to pieces x 16 elements of the outputs, from element k on. All queries of the tile see the
// positions from ... to, and alone those before and behind.
QK_INLINE QK_AVX512 void weigh(qk_kv element, const int pieces, const tile *t, size_t queries,
                               size_t from, size_t to, size_t k, float *out, size_t out_stride) {
  __m512 sums[QUERIES][PIECES];
  QK_UNROLL for (int i = 0; i < QUERIES; i++) {
    if ((size_t)i < queries) {
      const __m512 correction = _mm512_set1_ps(t->corrections[i]);
      const float *source = out + (size_t)i * out_stride + k;
      QK_UNROLL for (int j = 0; j < pieces; j++) {
        sums[i][j] = _mm512_mul_ps(_mm512_loadu_ps(source + 16 * j), correction);
      }
      const size_t first = (size_t)t->first[i];
      const size_t visible = (size_t)t->visible[i];
      add_alone(element, pieces, t, i, first, visible < from ? visible : from, k, sums[i]);
    } else {
      QK_UNROLL for (int j = 0; j < pieces; j++) { sums[i][j] = _mm512_setzero_ps(); }
    }
  }
  for (size_t p = from; p < to; p++) {
    const qk_kv_row row = qk_kv_row_of(element, t->values, t->dim, p);
    __m512 v[PIECES];
    QK_UNROLL for (int j = 0; j < pieces; j++) { v[j] = load16(element, row, k + 16 * (size_t)j); }
    QK_UNROLL for (int i = 0; i < QUERIES; i++) {
      const __m512 w = _mm512_set1_ps(t->weights[p][i]);
      QK_UNROLL for (int j = 0; j < pieces; j++) {
        sums[i][j] = _mm512_fmadd_ps(w, v[j], sums[i][j]);
      }
    }
  }
  QK_UNROLL for (int i = 0; i < QUERIES; i++) {
    if ((size_t)i < queries) {
      const size_t first = (size_t)t->first[i];
      add_alone(element, pieces, t, i, first > to ? first : to, (size_t)t->visible[i], k, sums[i]);
      QK_UNROLL for (int j = 0; j < pieces; j++) {
        _mm512_storeu_ps(out + (size_t)i * out_stride + k + 16 * (size_t)j, sums[i][j]);
      }
    }
  }
}

// Up to 8 queries of which each sees something.
QK_INLINE QK_AVX512 void attend(qk_kv element, tile *t, const float *q, size_t q_stride,
                                size_t queries, const int32_t *first, const int32_t *visible,
                                float *maximum, float *sum, float *out, size_t out_stride) {
  size_t from = QK_PAGE_POSITIONS, to = 0;         // what any sees
  size_t common = 0, common_to = QK_PAGE_POSITIONS; // what all see
  for (size_t i = 0; i < QUERIES; i++) {
    const size_t j = i < queries ? i : queries - 1;
    t->first[i] = first[j];
    t->visible[i] = visible[j];
    from = (size_t)first[j] < from ? (size_t)first[j] : from;
    to = (size_t)visible[j] > to ? (size_t)visible[j] : to;
    common = (size_t)first[j] > common ? (size_t)first[j] : common;
    common_to = (size_t)visible[j] < common_to ? (size_t)visible[j] : common_to;
  }
  // Where they have nothing in common, all is behind it.
  if (common >= common_to) common = common_to = 0;
  for (size_t i = 0; i < 4; i++) {
    const float *low = q + (i < queries ? i : queries - 1) * q_stride;
    const float *high = q + (i + 4 < queries ? i + 4 : queries - 1) * q_stride;
    for (size_t k = 0; k < t->dim; k += 8) {
      const __m512 pair = _mm512_castps256_ps512(_mm256_loadu_ps(low + k));
      t->q[k / 2 + i] = _mm512_insertf32x8(pair, _mm256_loadu_ps(high + k), 1);
    }
  }
  // From an even position on: two are one vector.
  score(element, t, from / 2 * 2, to);
  soften(t, from, to, maximum, sum, (__mmask8)((1u << queries) - 1));
  size_t k = 0;
  for (; k + 16 * PIECES <= t->dim; k += 16 * PIECES) {
    weigh(element, PIECES, t, queries, common, common_to, k, out, out_stride);
  }
  if (k < t->dim) weigh(element, 1, t, queries, common, common_to, k, out, out_stride);
}

QK_INLINE QK_AVX512 void page(qk_kv element, qk_attention_page *rest, const float *q,
                              size_t q_stride, size_t queries, const void *keys, const void *values,
                              size_t dim, const int32_t *first, const int32_t *visible,
                              float *maximum, float *sum, float *out, size_t out_stride) {
  const int fits = dim % 16 == 0 && dim <= MOST_DIM;
  size_t done = 0;
  tile t;
  t.keys = keys;
  t.values = values;
  t.dim = dim;
  while (done < queries) {
    size_t seeing = 0;
    while (done + seeing < queries && seeing < QUERIES &&
           first[done + seeing] < visible[done + seeing]) {
      seeing++;
    }
    if (seeing >= FEWEST && fits) {
      attend(element, &t, q + done * q_stride, q_stride, seeing, first + done, visible + done,
             maximum + done, sum + done, out + done * out_stride, out_stride);
    } else if (seeing > 0) {
      rest(q + done * q_stride, q_stride, seeing, keys, values, dim, first + done, visible + done,
           maximum + done, sum + done, out + done * out_stride, out_stride);
    }
    done += seeing > 0 ? seeing : 1;
  }
}

#define QK_PAGE(format, element)                                                                \
  QK_AVX512 void qk_attention_page_##format##_avx512(                                           \
      const float *q, size_t q_stride, size_t queries, const void *keys, const void *values,    \
      size_t dim, const int32_t *first, const int32_t *visible, float *maximum, float *sum,     \
      float *out, size_t out_stride) {                                                          \
    page(element, qk_attention_page_##format##_avx2, q, q_stride, queries, keys, values, dim,   \
         first, visible, maximum, sum, out, out_stride);                                        \
  }

QK_PAGE(f32, QK_KV_F32)
QK_PAGE(f16, QK_KV_F16)
QK_PAGE(q8, QK_KV_Q8)
QK_PAGE(q4, QK_KV_Q4)

#endif
