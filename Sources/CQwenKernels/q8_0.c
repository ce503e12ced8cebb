// Blocks of 32: half-precision d, then 32 signed bytes q. The value is d q.
#include "blocks.h"
#include "encode.h"
#include "twins.h"

void qk_q8_0_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q8_0_BYTES, values += 32) {
    const float d = qk_half_to_float(qk_load_u16(block));
    for (size_t k = 0; k < 32; k++) {
      values[k] = d * (float)(int8_t)block[2 + k];
    }
  }
}

static float row_product(const uint8_t *row, const qk_a8_block *x, size_t blocks) {
  float total = 0;
  for (size_t b = 0; b < blocks; b++, row += QK_Q8_0_BYTES) {
    int32_t products = 0;
    for (size_t k = 0; k < 32; k++) {
      products += (int8_t)row[2 + k] * x[b].values[k];
    }
    total = fmaf((float)products, qk_half_to_float(qk_load_u16(row)) * x[b].scale, total);
  }
  return total;
}

void qk_q8_0_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                       size_t y_stride) {
  QK_CHOOSE_TWIN(qk_q8_0_matmul_a8)
  qk_matmul_a8_scalar(row_product, weights, row_bytes, rows, columns, x, x_stride, tokens, y,
                      y_stride);
}

void qk_q8_0_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q8_0_BYTES, values += 32) {
    const float d = fabsf(qk_largest32(values)) / 127;
    const float inverse = qk_inverse(d);
    qk_store_half(block, d);
    for (size_t k = 0; k < 32; k++) {
      block[2 + k] = (uint8_t)qk_round_away(values[k] * inverse);
    }
  }
}
