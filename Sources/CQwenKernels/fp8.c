// Blocks of 128: a float, then bytes of a sign, 4 bits of exponent (bias 7) and 3 of fraction; 0x7f and 0xff are
// no numbers, there is no infinity. The value is the number times the float, rounded.
//
// Sum shape of a row times a token: lane l of 8 adds the products of a block's elements l, l + 8, ... fused and in
// rising order; times the block's float, fused, that is added to lane l of the row, block after block; then lanes
// are added as in the other float products. Powers of two move (fp8.h), which rounds nothing.
#include "fp8.h"
#include "lanes.h"

// The number, 2^120 too small.
static float small_number(uint8_t bits) {
  if ((bits & 0x7f) == 0x7f) {
    return qk_float_of(0x7fc00000);
  }
  // The bits of a float but for the bias, which differs by 120.
  return qk_float_of((uint32_t)(bits & 0x80) << 24 | (uint32_t)(bits & 0x7f) << 20);
}

static float scale_of(const uint8_t *block) {
  float scale;
  memcpy(&scale, block, sizeof scale);
  return scale;
}

void qk_fp8_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / QK_FP8_BLOCK; b++, block += QK_FP8_BYTES) {
    for (size_t k = 0; k < QK_FP8_BLOCK; k++, values++) {
      *values = small_number(block[4 + k]) * 0x1p120f * scale_of(block);
    }
  }
}

static float row_product(const uint8_t *row, const float *x, size_t blocks) {
  float totals[8] = {0};
  for (size_t b = 0; b < blocks; b++, row += QK_FP8_BYTES) {
    float sums[8] = {0};
    for (size_t k = 0; k < QK_FP8_BLOCK; k++, x++) {
      sums[k % 8] = fmaf(small_number(row[4 + k]), QK_FP8_LIFT * *x, sums[k % 8]);
    }
    for (size_t l = 0; l < 8; l++) {
      totals[l] = fmaf(sums[l], QK_FP8_REST * scale_of(row), totals[l]);
    }
  }
  return qk_sum_lanes(totals);
}

void qk_fp8_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,
                   size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX512) {
    qk_fp8_matmul_avx512(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_fp8_matmul_avx2(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_fp8_matmul_neon(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      y[t * y_stride + r] = row_product(row, x + t * x_stride, columns / QK_FP8_BLOCK);
    }
  }
}
