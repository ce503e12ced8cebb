// exp with AVX-512, step by step as in exp.h.
#ifndef QK_EXP_AVX512_H
#define QK_EXP_AVX512_H

#include "exp_avx2.h"

#if QK_X86

// Of 16 lanes up to QK_EXP_HIGH. Scaling by 2^n in one operation rounds as it does in two, of which the first is exact.
QK_INLINE QK_AVX512 __m512 qk_exp16_bounded(__m512 x) {
  // The second operand is the result where x is NaN.
  x = _mm512_max_ps(_mm512_set1_ps(QK_EXP_LOW), x);
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
  return _mm512_scalef_ps(p, whole);
}

QK_INLINE QK_AVX512 __m512 qk_exp16(__m512 x) {
  return qk_exp16_bounded(_mm512_min_ps(_mm512_set1_ps(QK_EXP_HIGH), x));
}

#endif
#endif
