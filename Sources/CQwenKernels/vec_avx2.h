// Vectors of 8 floats with AVX2, in the names that the texts for all instruction sets are written in.
#ifndef QK_VEC_AVX2_H
#define QK_VEC_AVX2_H

#include "simd.h"

#if QK_X86

#define QK_SET QK_AVX2 // of functions that use them
typedef __m256 vec;
typedef struct {
  vec a, b;
} vec_pair;
enum { WIDTH = 8 };

// ---- From and to memory --------

QK_INLINE QK_AVX2 vec vec_all(float x) { return _mm256_set1_ps(x); }
QK_INLINE QK_AVX2 vec vec_load(const void *source) { return _mm256_loadu_ps(source); }
QK_INLINE QK_AVX2 void vec_store(float *target, vec v) { _mm256_storeu_ps(target, v); }
// WIDTH numbers in half precision, signed bytes, or the 4 bits from bit `shift` on of WIDTH bytes.
QK_INLINE QK_AVX2 vec vec_halves(const uint8_t *source) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)source));
}
QK_INLINE QK_AVX2 vec vec_bytes(const uint8_t *source) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)source)));
}
QK_INLINE QK_AVX2 vec vec_fours(const uint8_t *source, unsigned shift) {
  const __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)source));
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(both, (int)shift), _mm256_set1_epi32(15)));
}
// Vector j of a row of codes of 4 bits, as values have them (kv.h).
QK_INLINE QK_AVX2 vec vec_row_fours(const uint8_t *row, size_t j) {
  return vec_fours(row + j / 2 * 8, j % 2 * 4);
}
// Two numbers in half precision, each in all lanes.
QK_INLINE QK_AVX2 vec_pair vec_all_halves(const uint8_t *source) {
  const __m256 both = _mm256_cvtph_ps(_mm_set1_epi32((int)qk_load_u32(source)));
  return (vec_pair){_mm256_moveldup_ps(both), _mm256_movehdup_ps(both)};
}
// Asks for the cache lines that begin within `bytes` bytes. Never faults.
QK_INLINE void vec_fetch(const uint8_t *source, size_t bytes) { qk_prefetch_near(source, bytes); }

// ---- Lane by lane --------

QK_INLINE QK_AVX2 vec vec_add(vec a, vec b) { return _mm256_add_ps(a, b); }
QK_INLINE QK_AVX2 vec vec_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
QK_INLINE QK_AVX2 vec vec_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
// a b + c, rounded once.
QK_INLINE QK_AVX2 vec vec_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
// sums[j] += *factor v[j], rounded once. 12 sums in threes take all 16 registers; left to itself the compiler loads
// several factors at once and parks sums in memory instead, where they wait for each other.
QK_INLINE QK_AVX2 void vec_fma_row(const int count, vec *sums, const float *factor, const vec *v) {
  __m256 f;
  if (count == 3) {
    __asm__("vbroadcastss %4, %3\n\tvfmadd231ps %3, %5, %0\n\tvfmadd231ps %3, %6, %1\n\tvfmadd231ps %3, %7, %2"
            : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "=&x"(f)
            : "m"(*factor), "x"(v[0]), "x"(v[1]), "x"(v[2]));
    return;
  }
  f = _mm256_broadcast_ss(factor);
  QK_UNROLL for (int j = 0; j < count; j++) sums[j] = _mm256_fmadd_ps(f, v[j], sums[j]);
}
// a > b ? a : b
QK_INLINE QK_AVX2 vec vec_max(vec a, vec b) { return _mm256_max_ps(a, b); }
// v within a limit; NaN stays.
QK_INLINE QK_AVX2 vec vec_at_least(vec v, float least) { return _mm256_max_ps(_mm256_set1_ps(least), v); }
QK_INLINE QK_AVX2 vec vec_at_most(vec v, float most) { return _mm256_min_ps(_mm256_set1_ps(most), v); }
// The bits of an integer below 2^8 that was added to 1.5 2^23 become the exponent.
QK_INLINE QK_AVX2 vec vec_exponent(vec shifted) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(shifted), 23));
}
// p 2^n, in two steps as in exp.h; `whole` is n.
QK_INLINE QK_AVX2 vec vec_scale(vec p, vec whole) {
  const __m256i n = _mm256_cvtps_epi32(whole);
  const __m256i n1 = _mm256_srai_epi32(n, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i scale1 = _mm256_slli_epi32(_mm256_add_epi32(n1, bias), 23);
  const __m256i scale2 = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, n1), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(scale1)), _mm256_castsi256_ps(scale2));
}

// ---- Over lanes --------

QK_INLINE QK_AVX2 int vec_any_above(vec v, float x) {
  return _mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_set1_ps(x), _CMP_GT_OQ)) != 0;
}
// The largest lane of a vector without NaN.
QK_INLINE QK_AVX2 float vec_largest(vec v) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
// The sum of 16 lanes: l and l + 8, then as qk_sum_lanes.
QK_INLINE QK_AVX2 float vec_sum16(const vec lanes[2]) { return qk_sum8(_mm256_add_ps(lanes[0], lanes[1])); }

#endif
#endif
