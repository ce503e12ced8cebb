// The order in which lanes are added, and the scalar product that defines it.
#ifndef QK_LANES_H
#define QK_LANES_H

#include "half.h"

#include <math.h>

// Lane l with lane l + 4, then l with l + 2, then 0 with 1.
QK_INLINE float qk_sum_lanes(const float lanes[8]) {
  const float a = lanes[0] + lanes[4];
  const float b = lanes[1] + lanes[5];
  const float c = lanes[2] + lanes[6];
  const float d = lanes[3] + lanes[7];
  return (a + c) + (b + d);
}

QK_INLINE float qk_load_f32(const uint8_t *row, size_t k) {
  float value;
  memcpy(&value, row + 4 * k, sizeof value);
  return value;
}

QK_INLINE float qk_load_f16(const uint8_t *row, size_t k) {
  return qk_half_to_float(qk_load_u16(row + 2 * k));
}

QK_INLINE float qk_load_bf16(const uint8_t *row, size_t k) {
  return qk_bfloat_to_float(qk_load_u16(row + 2 * k));
}

typedef float qk_load(const uint8_t *row, size_t k);

// Lane l of 8 adds the products of k = l, l + 8, ...; a last part of fewer than 8 is filled with
// zeros.
QK_INLINE float qk_dot_scalar(qk_load *load, const uint8_t *row, const float *x, size_t count) {
  float lanes[8] = {0};
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    for (size_t l = 0; l < 8; l++) {
      lanes[l] = fmaf(load(row, k + l), x[k + l], lanes[l]);
    }
  }
  if (k < count) {
    for (size_t l = 0; l < 8; l++) {
      const int inside = k + l < count;
      lanes[l] = fmaf(inside ? load(row, k + l) : 0, inside ? x[k + l] : 0, lanes[l]);
    }
  }
  return qk_sum_lanes(lanes);
}

QK_INLINE void qk_matmul_scalar(qk_load *load, const void *weights, size_t row_bytes, size_t rows,
                                size_t columns, const float *x, size_t x_stride, size_t tokens,
                                float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      y[t * y_stride + r] = qk_dot_scalar(load, row, x + t * x_stride, columns);
    }
  }
}

#endif
