// Vectors of 16 floats with AVX-512, in the names of vec_avx2.h.
#ifndef QK_VEC_AVX512_H
#define QK_VEC_AVX512_H

#include "simd.h"

#if QK_X86

#define QK_SET QK_AVX512
typedef __m512 vec;
typedef struct {
  vec a, b;
} vec_pair;
enum { WIDTH = 16 };

// ---- From and to memory --------

QK_INLINE QK_AVX512 vec vec_all(float x) { return _mm512_set1_ps(x); }
QK_INLINE QK_AVX512 vec vec_load(const void *source) { return _mm512_loadu_ps(source); }
QK_INLINE QK_AVX512 void vec_store(float *target, vec v) { _mm512_storeu_ps(target, v); }
QK_INLINE QK_AVX512 vec vec_halves(const uint8_t *source) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)source));
}
QK_INLINE QK_AVX512 vec vec_bytes(const uint8_t *source) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)source)));
}
QK_INLINE QK_AVX512 vec vec_fours(const uint8_t *source, unsigned shift) {
  const __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)source));
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(both, shift), _mm512_set1_epi32(15)));
}
QK_INLINE QK_AVX512 vec vec_row_fours(const uint8_t *row, size_t j) {
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)(row + 8 * j));
  const __m128i both = _mm_unpacklo_epi64(bytes, _mm_srli_epi16(bytes, 4));
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_and_si128(both, _mm_set1_epi8(15))));
}
QK_INLINE QK_AVX512 vec_pair vec_all_halves(const uint8_t *source) {
  const __m512 both = _mm512_cvtph_ps(_mm256_set1_epi32((int)qk_load_u32(source)));
  return (vec_pair){_mm512_moveldup_ps(both), _mm512_movehdup_ps(both)};
}
QK_INLINE void vec_fetch(const uint8_t *source, size_t bytes) { qk_prefetch_near(source, bytes); }

// ---- Lane by lane --------

QK_INLINE QK_AVX512 vec vec_add(vec a, vec b) { return _mm512_add_ps(a, b); }
QK_INLINE QK_AVX512 vec vec_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
QK_INLINE QK_AVX512 vec vec_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
QK_INLINE QK_AVX512 vec vec_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
QK_INLINE QK_AVX512 void vec_fma_row(const int count, vec *sums, const float *factor, const vec *v) {
  const __m512 f = _mm512_set1_ps(*factor);
  QK_UNROLL for (int j = 0; j < count; j++) sums[j] = _mm512_fmadd_ps(f, v[j], sums[j]);
}
QK_INLINE QK_AVX512 vec vec_max(vec a, vec b) { return _mm512_max_ps(a, b); }
QK_INLINE QK_AVX512 vec vec_at_least(vec v, float least) { return _mm512_max_ps(_mm512_set1_ps(least), v); }
QK_INLINE QK_AVX512 vec vec_at_most(vec v, float most) { return _mm512_min_ps(_mm512_set1_ps(most), v); }
QK_INLINE QK_AVX512 vec vec_exponent(vec shifted) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23));
}
// In one step, which rounds as two do of which the first is exact.
QK_INLINE QK_AVX512 vec vec_scale(vec p, vec whole) { return _mm512_scalef_ps(p, whole); }

// ---- Over lanes --------

QK_INLINE QK_AVX512 int vec_any_above(vec v, float x) {
  return _mm512_cmp_ps_mask(v, _mm512_set1_ps(x), _CMP_GT_OQ) != 0;
}
QK_INLINE QK_AVX512 float vec_largest(vec v) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
QK_INLINE QK_AVX512 float vec_sum16(const vec lanes[1]) {
  return qk_sum8(_mm256_add_ps(_mm512_castps512_ps256(lanes[0]), _mm512_extractf32x8_ps(lanes[0], 1)));
}

#endif
#endif
