// IEEE single precision.
#include "lanes.h"
#include "twins.h"

void qk_f32_decode(const void *source, float *values, size_t count) {
  memcpy(values, source, count * sizeof(float));
}

void qk_f32_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX512) {
    qk_f32_matmul_avx512(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_f32_matmul_avx2(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_f32_matmul_neon(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  qk_matmul_scalar(qk_load_f32, weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}

void qk_f32_encode(const float *values, void *target, size_t count) {
  memcpy(target, values, count * sizeof(float));
}
