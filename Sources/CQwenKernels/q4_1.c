// Blocks of 32: half-precision d and m, then 16 bytes of 4-bit q, elements 0 ... 15 in the low
// halves, 16 ... 31 in the high ones. The value is d q + m.
#include "blocks.h"
#include "encode.h"
#include "fit.h"
#include "twins.h"

void qk_q4_1_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q4_1_BYTES, values += 32) {
    const float d = qk_half_to_float(qk_load_u16(block));
    const float m = qk_half_to_float(qk_load_u16(block + 2));
    // d q has at most 15 bits and is exact: the sum is the only rounding.
    for (size_t k = 0; k < 16; k++) {
      values[k] = d * (float)(block[4 + k] & 15) + m;
      values[k + 16] = d * (float)(block[4 + k] >> 4) + m;
    }
  }
}

static float row_product(const uint8_t *row, const qk_a8_block *x, size_t blocks) {
  float total = 0;
  for (size_t b = 0; b < blocks; b++, row += QK_Q4_1_BYTES) {
    int32_t products = 0;
    for (size_t k = 0; k < 16; k++) {
      products += (row[4 + k] & 15) * x[b].values[k];
      products += (row[4 + k] >> 4) * x[b].values[k + 16];
    }
    const float d = qk_half_to_float(qk_load_u16(row));
    const float m = qk_half_to_float(qk_load_u16(row + 2));
    total = fmaf((float)products, d * x[b].scale, total);
    total = fmaf(m, x[b].scale * (float)x[b].sum, total);
  }
  return total;
}

void qk_q4_1_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                       size_t y_stride) {
  QK_CHOOSE_TWIN(qk_q4_1_matmul_a8)
  qk_matmul_a8_scalar(row_product, weights, row_bytes, rows, columns, x, x_stride, tokens, y,
                      y_stride);
}

void qk_q4_1_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q4_1_BYTES, values += 32) {
    const qk_range range = qk_range32(values);
    const float d = (range.high - range.low) / 15;
    const float inverse = qk_inverse(d);
    qk_store_half(block, d);
    qk_store_half(block + 2, range.low);
    for (size_t k = 0; k < 16; k++) {
      const uint8_t low = qk_code((values[k] - range.low) * inverse, 0.5f, 15);
      const uint8_t high = qk_code((values[k + 16] - range.low) * inverse, 0.5f, 15);
      block[4 + k] = (uint8_t)(low | high << 4);
    }
  }
}

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  const qk_blocks32 form = {.bytes = QK_Q4_1_BYTES,
                            .grid = {0, 15, 0},
                            .has_minimum = 1,
                            .encode = qk_q4_1_encode,
                            .store = qk_store_nibbles};
  qk_encode_best32(form, values, importance, target, count);
}

QK_BEST_ENCODER(q4_1)
