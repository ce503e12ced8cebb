// Vectors of 8 floats with NEON, pairs of registers, in the names of vec_avx2.h.
#ifndef QK_VEC_NEON_H
#define QK_VEC_NEON_H

#include "lanes.h"

#if QK_ARM

#define QK_SET
typedef struct {
  float32x4_t low, high;
} vec;
typedef struct {
  vec a, b;
} vec_pair;
enum { WIDTH = 8 };

// ---- From and to memory --------

QK_INLINE vec vec_all(float x) { return (vec){vdupq_n_f32(x), vdupq_n_f32(x)}; }
QK_INLINE vec vec_load(const void *source) {
  const uint8_t *bytes = source;
  return (vec){vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16))};
}
QK_INLINE void vec_store(float *target, vec v) { vst1q_f32(target, v.low), vst1q_f32(target + 4, v.high); }
QK_INLINE vec vec_halves(const uint8_t *source) {
  const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(source));
  return (vec){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
QK_INLINE vec vec_bytes(const uint8_t *source) {
  const int16x8_t q = vmovl_s8(vreinterpret_s8_u8(vld1_u8(source)));
  return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), vcvtq_f32_s32(vmovl_high_s16(q))};
}
QK_INLINE vec vec_fours(const uint8_t *source, unsigned shift) {
  const uint16x8_t q = vmovl_u8(vld1_u8(source) >> (uint8_t)shift & 15);
  return (vec){vcvtq_f32_u32(vmovl_u16(vget_low_u16(q))), vcvtq_f32_u32(vmovl_high_u16(q))};
}
QK_INLINE vec vec_row_fours(const uint8_t *row, size_t j) {
  return vec_fours(row + j / 2 * 8, j % 2 * 4);
}
QK_INLINE vec_pair vec_all_halves(const uint8_t *source) {
  return (vec_pair){vec_all(qk_load_f16(source, 0)), vec_all(qk_load_f16(source, 1))};
}
// Left to the processor.
QK_INLINE void vec_fetch(const uint8_t *source, size_t bytes) { (void)source, (void)bytes; }

// ---- Lane by lane --------

QK_INLINE vec vec_add(vec a, vec b) { return (vec){vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
QK_INLINE vec vec_sub(vec a, vec b) { return (vec){vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
QK_INLINE vec vec_mul(vec a, vec b) { return (vec){vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
QK_INLINE vec vec_fma(vec a, vec b, vec c) {
  return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
QK_INLINE void vec_fma_row(const int count, vec *sums, const float *factor, const vec *v) {
  QK_UNROLL for (int j = 0; j < count; j++) {
    sums[j].low = vfmaq_n_f32(sums[j].low, v[j].low, *factor);
    sums[j].high = vfmaq_n_f32(sums[j].high, v[j].high, *factor);
  }
}
QK_INLINE vec vec_max(vec a, vec b) {
  return (vec){vbslq_f32(vcgtq_f32(a.low, b.low), a.low, b.low),
               vbslq_f32(vcgtq_f32(a.high, b.high), a.high, b.high)};
}
QK_INLINE vec vec_at_least(vec v, float least) {
  return (vec){vmaxq_f32(v.low, vdupq_n_f32(least)), vmaxq_f32(v.high, vdupq_n_f32(least))};
}
QK_INLINE vec vec_at_most(vec v, float most) {
  return (vec){vminq_f32(v.low, vdupq_n_f32(most)), vminq_f32(v.high, vdupq_n_f32(most))};
}
QK_INLINE vec vec_exponent(vec shifted) {
  return (vec){vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted.low), 23)),
               vreinterpretq_f32_s32(vshlq_n_s32(vreinterpretq_s32_f32(shifted.high), 23))};
}
QK_INLINE float32x4_t qk_scale4(float32x4_t p, float32x4_t whole) {
  const int32x4_t n = vcvtq_s32_f32(whole);
  const int32x4_t n1 = vshrq_n_s32(n, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t scale1 = vshlq_n_s32(vaddq_s32(n1, bias), 23);
  const int32x4_t scale2 = vshlq_n_s32(vaddq_s32(vsubq_s32(n, n1), bias), 23);
  return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(scale1)), vreinterpretq_f32_s32(scale2));
}
QK_INLINE vec vec_scale(vec p, vec whole) {
  return (vec){qk_scale4(p.low, whole.low), qk_scale4(p.high, whole.high)};
}

// ---- Over lanes --------

QK_INLINE float vec_largest(vec v) { return vmaxvq_f32(vmaxq_f32(v.low, v.high)); }
QK_INLINE int vec_any_above(vec v, float x) { return vec_largest(v) > x; }
QK_INLINE float vec_sum16(const vec lanes[2]) {
  const vec eight = vec_add(lanes[0], lanes[1]);
  const float32x4_t four = vaddq_f32(eight.low, eight.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

#endif
#endif
