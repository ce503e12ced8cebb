// Reductions over one row of logits: loops that the compiler turns into vectors, with the order of sums written out.
#include "exp.h"
#include "loops.h"

// NaN compares with nothing, so it is skipped; -infinity for none.
QK_INLINE float maximum_of(const float *x, size_t count) {
  enum { LANES = 16 };
  float most[LANES];
  for (size_t l = 0; l < LANES; l++) most[l] = -INFINITY;
  size_t k = 0;
  for (; k + LANES <= count; k += LANES) {
    for (size_t l = 0; l < LANES; l++) most[l] = x[k + l] > most[l] ? x[k + l] : most[l];
  }
  for (; k < count; k++) most[0] = x[k] > most[0] ? x[k] : most[0];
  for (size_t l = 1; l < LANES; l++) most[0] = most[l] > most[0] ? most[l] : most[0];
  return most[0];
}

// The first place that holds the maximum: 0.0 and -0.0 are equal.
QK_INLINE int64_t argmax(const float *x, size_t count) {
  enum { BLOCK = 256 };
  const float maximum = maximum_of(x, count);
  for (size_t start = 0; start < count; start += BLOCK) {
    const size_t end = count - start < BLOCK ? count : start + BLOCK;
    int found = 0;
    for (size_t k = start; k < end; k++) found |= x[k] == maximum;
    if (!found) continue;
    for (size_t k = start; k < end; k++) {
      if (x[k] == maximum) return (int64_t)k;
    }
  }
  return -1;
}
QK_DEFINE_VALUE(int64_t, qk_argmax, argmax, (const float *x, size_t count), (x, count))

// Lane l of 8 adds exp(x[k] - maximum) of k = l, l + 8, ... in double.
QK_INLINE double log_sum_exp(const float *x, size_t count) {
  enum { BLOCK = 64 };
  int has_nan = 0;
  for (size_t k = 0; k < count; k++) has_nan |= x[k] != x[k];
  if (has_nan) return (double)NAN;
  const float maximum = maximum_of(x, count);
  if (isinf(maximum)) return (double)maximum;
  double lanes[8] = {0};
  for (size_t start = 0; start < count; start += BLOCK) {
    float e[BLOCK] = {0};
    const size_t here = count - start < BLOCK ? count - start : BLOCK;
    for (size_t k = 0; k < here; k++) e[k] = qk_exp_scalar(x[start + k] - maximum);
    for (size_t k = 0; k < BLOCK; k += 8) {
      for (size_t l = 0; l < 8; l++) lanes[l] += (double)e[k + l];
    }
  }
  const double a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const double b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return (double)maximum + log(a + b);
}
QK_DEFINE_VALUE(double, qk_log_sum_exp, log_sum_exp, (const float *x, size_t count), (x, count))

QK_INLINE int32_t all_finite(const float *x, size_t count) {
  uint32_t largest = 0;
  for (size_t k = 0; k < count; k++) {
    const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest < 0x7f800000;
}
QK_DEFINE_VALUE(int32_t, qk_all_finite, all_finite, (const float *x, size_t count), (x, count))
