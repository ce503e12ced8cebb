// exp in single precision: the same operations in every twin, so the same bits.
//
// x = n ln 2 + r with |r| at most ln 2 / 2; exp(r) is a polynomial of degree 6, fitted for the
// smallest largest relative error (4e-9); 2^n is applied in two steps so that results may be
// subnormal.
#ifndef QK_EXP_H
#define QK_EXP_H

#include "half.h"

#include <math.h>

#define QK_EXP_LOW -104.0f  // below, the result rounds to zero
#define QK_EXP_HIGH 89.0f   // above, it is infinite
#define QK_EXP_ROUND 0x1.8p23f  // adding it leaves an integer in the low bits
#define QK_EXP_LOG2E 0x1.715476p+0f
#define QK_EXP_LN2_HIGH 0x1.62e43p-1f
#define QK_EXP_LN2_LOW -0x1.05c61p-29f
#define QK_EXP_C2 0x1.fffffcp-2f
#define QK_EXP_C3 0x1.555492p-3f
#define QK_EXP_C4 0x1.5558f2p-5f
#define QK_EXP_C5 0x1.123a2p-7f
#define QK_EXP_C6 0x1.6a23dp-10f

// exp(x - n ln 2), where `whole` is n.
QK_INLINE float qk_exp_fraction(float x, float whole) {
  float r = fmaf(whole, -QK_EXP_LN2_HIGH, x);
  r = fmaf(whole, -QK_EXP_LN2_LOW, r);
  float p = fmaf(QK_EXP_C6, r, QK_EXP_C5);
  p = fmaf(p, r, QK_EXP_C4);
  p = fmaf(p, r, QK_EXP_C3);
  p = fmaf(p, r, QK_EXP_C2);
  p = fmaf(p, r * r, r);
  return p + 1;
}

QK_INLINE float qk_exp_scalar(float x) {
  x = x < QK_EXP_LOW ? QK_EXP_LOW : x;
  x = x > QK_EXP_HIGH ? QK_EXP_HIGH : x;
  const float shifted = fmaf(x, QK_EXP_LOG2E, QK_EXP_ROUND);
  const float p = qk_exp_fraction(x, shifted - QK_EXP_ROUND);
  // Unsigned arithmetic: a NaN makes n anything, and stays NaN.
  const int32_t n = (int32_t)(qk_bits_of(shifted) - 0x4b400000u);
  const int32_t n1 = n >> 1;
  const float scale1 = qk_float_of(((uint32_t)n1 + 127) << 23);
  const float scale2 = qk_float_of(((uint32_t)n - (uint32_t)n1 + 127) << 23);
  return p * scale1 * scale2;
}

// A weight of attention: exp(x) for x up to 0, but 0 where n is below -126. So 2^n is one factor, and its bits are
// n + 127.
#define QK_WEIGHT_LOW -88.0f  // n is -127: the factor is 0
#define QK_WEIGHT_ROUND 0x1.8000fep23f  // QK_EXP_ROUND + 127

QK_INLINE float qk_weight_scalar(float x) {
  x = x < QK_WEIGHT_LOW ? QK_WEIGHT_LOW : x;
  const float shifted = fmaf(x, QK_EXP_LOG2E, QK_WEIGHT_ROUND);
  return qk_exp_fraction(x, shifted - QK_WEIGHT_ROUND) * qk_float_of(qk_bits_of(shifted) << 23);
}

#endif
