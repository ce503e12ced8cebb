// bfloat16: the upper half of a float.
#include "lanes.h"

void qk_bf16_decode(const void *source, float *values, size_t count) {
  for (size_t k = 0; k < count; k++) {
    values[k] = qk_load_bf16(source, k);
  }
}

void qk_bf16_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  qk_matmul_scalar(qk_load_bf16, weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}
