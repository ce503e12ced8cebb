// Blocks of 32: half-precision d, then 16 bytes of 4-bit q, elements 0 ... 15 in the low halves, 16
// ... 31 in the high ones. The value is d (q - 8).
#include "blocks.h"
#include "encode.h"
#include "fit.h"
#include "twins.h"

void qk_q4_0_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q4_0_BYTES, values += 32) {
    const float d = qk_half_to_float(qk_load_u16(block));
    for (size_t k = 0; k < 16; k++) {
      values[k] = d * (float)((block[2 + k] & 15) - 8);
      values[k + 16] = d * (float)((block[2 + k] >> 4) - 8);
    }
  }
}

static float row_product(const uint8_t *row, const qk_a8_block *x, size_t blocks) {
  float total = 0;
  for (size_t b = 0; b < blocks; b++, row += QK_Q4_0_BYTES) {
    int32_t products = 0;
    for (size_t k = 0; k < 16; k++) {
      products += ((row[2 + k] & 15) - 8) * x[b].values[k];
      products += ((row[2 + k] >> 4) - 8) * x[b].values[k + 16];
    }
    total = fmaf((float)products, qk_half_to_float(qk_load_u16(row)) * x[b].scale, total);
  }
  return total;
}

void qk_q4_0_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                       size_t y_stride) {
  QK_CHOOSE_TWIN(qk_q4_0_matmul_a8)
  qk_matmul_a8_scalar(row_product, weights, row_bytes, rows, columns, x, x_stride, tokens, y,
                      y_stride);
}

void qk_q4_0_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 32; b++, block += QK_Q4_0_BYTES, values += 32) {
    // The largest value, with its sign, becomes -8: the side with one more code.
    const float d = qk_largest32(values) / -8;
    const float inverse = qk_inverse(d);
    qk_store_half(block, d);
    for (size_t k = 0; k < 16; k++) {
      const uint8_t low = qk_code(values[k] * inverse, 8.5f, 15);
      const uint8_t high = qk_code(values[k + 16] * inverse, 8.5f, 15);
      block[2 + k] = (uint8_t)(low | high << 4);
    }
  }
}

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  const qk_blocks32 form = {.bytes = QK_Q4_0_BYTES,
                            .grid = {-8, 7, 0},
                            .encode = qk_q4_0_encode,
                            .store = qk_store_nibbles};
  qk_encode_best32(form, values, importance, target, count);
}

QK_BEST_ENCODER(q4_0)
