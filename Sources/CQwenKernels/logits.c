// Reductions over one row of logits.
#include "exp.h"
#include "twins.h"

// NaN compares with nothing, so it is skipped; strictly greater keeps the lowest index.
int64_t qk_argmax(const float *x, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    return qk_argmax_avx2(x, count);
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    return qk_argmax_neon(x, count);
  }
#endif
  int64_t best = -1;
  for (size_t k = 0; k < count; k++) {
    if (x[k] == x[k] && (best < 0 || x[k] > x[best])) {
      best = (int64_t)k;
    }
  }
  return best;
}

// Lane l of 8 adds exp(x[k] - maximum) of k = l, l + 8, ... in double.
double qk_log_sum_exp(const float *x, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    return qk_log_sum_exp_avx2(x, count);
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    return qk_log_sum_exp_neon(x, count);
  }
#endif
  float maximum = -INFINITY;
  for (size_t k = 0; k < count; k++) {
    if (x[k] != x[k]) {
      return (double)x[k];
    }
    maximum = x[k] > maximum ? x[k] : maximum;
  }
  if (isinf(maximum)) {
    return (double)maximum;
  }
  double lanes[8] = {0};
  for (size_t k = 0; k < count; k++) {
    lanes[k % 8] += (double)qk_exp_scalar(x[k] - maximum);
  }
  const double a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const double b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return (double)maximum + log(a + b);
}

int32_t qk_all_finite(const float *x, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    return qk_all_finite_avx2(x, count);
  }
#endif
  uint32_t largest = 0;
  for (size_t k = 0; k < count; k++) {
    const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < 0x7f800000;
}
