// IEEE half precision.
#include "lanes.h"
#include "twins.h"

void qk_f16_decode(const void *source, float *values, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_f16_decode_avx2(source, values, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    values[k] = qk_load_f16(source, k);
  }
}

void qk_f16_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX512) {
    qk_f16_matmul_avx512(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_f16_matmul_avx2(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_f16_matmul_neon(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  qk_matmul_scalar(qk_load_f16, weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}

void qk_f16_encode(const float *values, void *target, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_f16_encode_avx2(values, target, count);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_f16_encode_neon(values, target, count);
    return;
  }
#endif
  uint8_t *out = target;
  for (size_t k = 0; k < count; k++) {
    const uint16_t half = qk_float_to_half(values[k]);
    memcpy(out + 2 * k, &half, sizeof half);
  }
}
