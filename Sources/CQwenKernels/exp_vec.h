// exp of vectors, step by step as in exp.h, in the names of vec_avx2.h and its kin, one of which is included before.
#ifndef QK_EXP_VEC_H
#define QK_EXP_VEC_H

#include "exp.h"

QK_INLINE QK_SET vec vec_exp_fraction(vec x, vec whole) {
  vec r = vec_fma(whole, vec_all(-QK_EXP_LN2_HIGH), x);
  r = vec_fma(whole, vec_all(-QK_EXP_LN2_LOW), r);
  vec p = vec_fma(vec_all(QK_EXP_C6), r, vec_all(QK_EXP_C5));
  p = vec_fma(p, r, vec_all(QK_EXP_C4));
  p = vec_fma(p, r, vec_all(QK_EXP_C3));
  p = vec_fma(p, r, vec_all(QK_EXP_C2));
  p = vec_fma(p, vec_mul(r, r), r);
  return vec_add(p, vec_all(1));
}

QK_INLINE QK_SET vec vec_exp(vec x) {
  x = vec_at_most(vec_at_least(x, QK_EXP_LOW), QK_EXP_HIGH);
  const vec round = vec_all(QK_EXP_ROUND);
  const vec whole = vec_sub(vec_fma(x, vec_all(QK_EXP_LOG2E), round), round);
  return vec_scale(vec_exp_fraction(x, whole), whole);
}

QK_INLINE QK_SET vec vec_weight(vec x) {
  x = vec_at_least(x, QK_WEIGHT_LOW);
  const vec round = vec_all(QK_WEIGHT_ROUND);
  const vec shifted = vec_fma(x, vec_all(QK_EXP_LOG2E), round);
  return vec_mul(vec_exp_fraction(x, vec_sub(shifted, round)), vec_exponent(shifted));
}

#endif
