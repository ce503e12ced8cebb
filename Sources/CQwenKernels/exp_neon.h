// exp of 4 lanes, step by step as in exp.h.
#ifndef QK_EXP_NEON_H
#define QK_EXP_NEON_H

#include "exp.h"

#if QK_ARM

QK_INLINE float32x4_t qk_exp4(float32x4_t x) {
  // Both keep what is no number.
  x = vmaxq_f32(x, vdupq_n_f32(QK_EXP_LOW));
  x = vminq_f32(x, vdupq_n_f32(QK_EXP_HIGH));
  const float32x4_t round = vdupq_n_f32(QK_EXP_ROUND);
  const float32x4_t shifted = vfmaq_n_f32(round, x, QK_EXP_LOG2E);
  const float32x4_t whole = vsubq_f32(shifted, round);
  float32x4_t r = vfmaq_n_f32(x, whole, -QK_EXP_LN2_HIGH);
  r = vfmaq_n_f32(r, whole, -QK_EXP_LN2_LOW);
  float32x4_t p = vfmaq_n_f32(vdupq_n_f32(QK_EXP_C5), r, QK_EXP_C6);
  p = vfmaq_f32(vdupq_n_f32(QK_EXP_C4), p, r);
  p = vfmaq_f32(vdupq_n_f32(QK_EXP_C3), p, r);
  p = vfmaq_f32(vdupq_n_f32(QK_EXP_C2), p, r);
  p = vfmaq_f32(r, p, vmulq_f32(r, r));
  p = vaddq_f32(p, vdupq_n_f32(1));
  const int32x4_t n = vsubq_s32(vreinterpretq_s32_f32(shifted), vreinterpretq_s32_f32(round));
  const int32x4_t n1 = vshrq_n_s32(n, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t scale1 = vshlq_n_s32(vaddq_s32(n1, bias), 23);
  const int32x4_t scale2 = vshlq_n_s32(vaddq_s32(vsubq_s32(n, n1), bias), 23);
  p = vmulq_f32(p, vreinterpretq_f32_s32(scale1));
  return vmulq_f32(p, vreinterpretq_f32_s32(scale2));
}

#endif
#endif
