// Reductions over one row of logits with NEON.
#include "vec_neon.h"
#include "twins.h"

#if QK_ARM

#include "exp_vec.h"

// The largest number and whether there is a NaN; -infinity for none.
QK_INLINE float maximum_of(const float *x, size_t count, int *has_nan) {
  float32x4_t most[2] = {vdupq_n_f32(-INFINITY), vdupq_n_f32(-INFINITY)};
  uint32x4_t numbers = vdupq_n_u32(UINT32_MAX);
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    QK_UNROLL for (int i = 0; i < 2; i++) {
      const float32x4_t v = vld1q_f32(x + k + 4 * i);
      // A NaN is greater than nothing.
      most[i] = vbslq_f32(vcgtq_f32(v, most[i]), v, most[i]);
      numbers = vandq_u32(numbers, vceqq_f32(v, v));
    }
  }
  float maximum = vmaxvq_f32(vmaxq_f32(most[0], most[1]));
  *has_nan = vminvq_u32(numbers) == 0;
  for (; k < count; k++) {
    *has_nan |= x[k] != x[k];
    maximum = x[k] > maximum ? x[k] : maximum;
  }
  return maximum;
}

// The maximum first, then the first place that holds it: 0.0 and -0.0 are equal, as in the scalar twin.
int64_t qk_argmax_neon(const float *x, size_t count) {
  int has_nan;
  const float maximum = maximum_of(x, count, &has_nan);
  const float32x4_t wanted = vdupq_n_f32(maximum);
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const uint32x4_t a = vceqq_f32(vld1q_f32(x + k), wanted);
    const uint32x4_t b = vceqq_f32(vld1q_f32(x + k + 4), wanted);
    if (vmaxvq_u32(vorrq_u32(a, b)) != 0) break;
  }
  for (; k < count; k++) {
    if (x[k] == maximum) {
      return (int64_t)k;
    }
  }
  return -1;
}

double qk_log_sum_exp_neon(const float *x, size_t count) {
  int has_nan;
  const float maximum = maximum_of(x, count, &has_nan);
  if (has_nan) {
    return (double)NAN;
  }
  if (isinf(maximum)) {
    return (double)maximum;
  }
  float64x2_t sums[4];
  QK_UNROLL for (int i = 0; i < 4; i++) { sums[i] = vdupq_n_f64(0); }
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const vec e = vec_exp(vec_sub(vec_load(x + k), vec_all(maximum)));
    sums[0] = vaddq_f64(sums[0], vcvt_f64_f32(vget_low_f32(e.low)));
    sums[1] = vaddq_f64(sums[1], vcvt_high_f64_f32(e.low));
    sums[2] = vaddq_f64(sums[2], vcvt_f64_f32(vget_low_f32(e.high)));
    sums[3] = vaddq_f64(sums[3], vcvt_high_f64_f32(e.high));
  }
  double lanes[8];
  QK_UNROLL for (int i = 0; i < 4; i++) { vst1q_f64(lanes + 2 * i, sums[i]); }
  for (; k < count; k++) {
    lanes[k % 8] += (double)qk_exp_scalar(x[k] - maximum);
  }
  const double a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const double b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return (double)maximum + log(a + b);
}

#endif
