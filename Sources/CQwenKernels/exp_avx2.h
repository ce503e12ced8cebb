// exp of 8 lanes, step by step as in exp.h.
#ifndef QK_EXP_AVX2_H
#define QK_EXP_AVX2_H

#include "exp.h"

#if QK_X86

QK_INLINE QK_AVX2 __m256 qk_exp8(__m256 x) {
  // The second operand is the result where x is NaN.
  x = _mm256_max_ps(_mm256_set1_ps(QK_EXP_LOW), x);
  x = _mm256_min_ps(_mm256_set1_ps(QK_EXP_HIGH), x);
  const __m256 round = _mm256_set1_ps(QK_EXP_ROUND);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(QK_EXP_LOG2E), round);
  const __m256 whole = _mm256_sub_ps(shifted, round);
  __m256 r = _mm256_fmadd_ps(whole, _mm256_set1_ps(-QK_EXP_LN2_HIGH), x);
  r = _mm256_fmadd_ps(whole, _mm256_set1_ps(-QK_EXP_LN2_LOW), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(QK_EXP_C6), r, _mm256_set1_ps(QK_EXP_C5));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C2));
  p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
  p = _mm256_add_ps(p, _mm256_set1_ps(1));
  const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(round));
  const __m256i n1 = _mm256_srai_epi32(n, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i scale1 = _mm256_slli_epi32(_mm256_add_epi32(n1, bias), 23);
  const __m256i scale2 =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, n1), bias), 23);
  p = _mm256_mul_ps(p, _mm256_castsi256_ps(scale1));
  return _mm256_mul_ps(p, _mm256_castsi256_ps(scale2));
}

#endif
#endif
