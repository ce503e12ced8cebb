// Blocks of 128: a float, then bytes of a sign, 4 bits of exponent (bias 7) and 3 of fraction; 0x7f and 0xff are
// no numbers, there is no infinity. The value is the number times the float, rounded.
#include "lanes.h"
#include "twins.h"
#include "fp8.h"

static float load_fp8(const uint8_t *row, size_t k) {
  const uint8_t *block = row + k / QK_FP8_BLOCK * QK_FP8_BYTES;
  const uint8_t bits = block[4 + k % QK_FP8_BLOCK];
  float scale;
  memcpy(&scale, block, sizeof scale);
  if ((bits & 0x7f) == 0x7f) {
    return qk_float_of(0x7fc00000);
  }
  // The bits of a half but for the bias, which differs by 8.
  const uint16_t half = (uint16_t)((bits & 0x80) << 8 | (bits & 0x7f) << 7);
  return qk_half_to_float(half) * (256 * scale);
}

void qk_fp8_decode(const void *source, float *values, size_t count) {
  for (size_t k = 0; k < count; k++) {
    values[k] = load_fp8(source, k);
  }
}

void qk_fp8_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,
                   size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_fp8_matmul_avx2(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  qk_matmul_scalar(load_fp8, weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}
