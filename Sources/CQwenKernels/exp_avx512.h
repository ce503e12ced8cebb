// exp of 16 lanes, step by step as in exp.h.
#ifndef QK_EXP_AVX512_H
#define QK_EXP_AVX512_H

#include "exp_avx2.h"

#if QK_X86

QK_INLINE QK_AVX512 __m512 qk_exp16(__m512 x) {
  // The second operand is the result where x is NaN.
  x = _mm512_max_ps(_mm512_set1_ps(QK_EXP_LOW), x);
  x = _mm512_min_ps(_mm512_set1_ps(QK_EXP_HIGH), x);
  const __m512 round = _mm512_set1_ps(QK_EXP_ROUND);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(QK_EXP_LOG2E), round);
  const __m512 whole = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fmadd_ps(whole, _mm512_set1_ps(-QK_EXP_LN2_HIGH), x);
  r = _mm512_fmadd_ps(whole, _mm512_set1_ps(-QK_EXP_LN2_LOW), r);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(QK_EXP_C6), r, _mm512_set1_ps(QK_EXP_C5));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QK_EXP_C4));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QK_EXP_C3));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QK_EXP_C2));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
  p = _mm512_add_ps(p, _mm512_set1_ps(1));
  const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(round));
  const __m512i n1 = _mm512_srai_epi32(n, 1);
  const __m512i bias = _mm512_set1_epi32(127);
  const __m512i scale1 = _mm512_slli_epi32(_mm512_add_epi32(n1, bias), 23);
  const __m512i scale2 = _mm512_slli_epi32(_mm512_add_epi32(_mm512_sub_epi32(n, n1), bias), 23);
  p = _mm512_mul_ps(p, _mm512_castsi512_ps(scale1));
  return _mm512_mul_ps(p, _mm512_castsi512_ps(scale2));
}

#endif
#endif
