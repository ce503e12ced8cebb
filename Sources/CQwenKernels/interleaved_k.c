// The interleaved form of Q4_K: making it, decoding it, its products, with the sums, and so the bits, of the
// row-major form.
#include "interleaved.h"
#include "scales6.h"
#include "twins.h"

static const qk_block_layout q4_k_layout = {0, 36};

enum { BYTES = QK_GROUP * 144 };

void qk_q4_kx16_pack(const void *source, size_t row_bytes, size_t rows, size_t columns,
                     void *target) {
  qk_interleave(q4_k_layout, source, row_bytes, rows, columns / 256, target);
}

void qk_q4_kx16_decode(const void *group, size_t row, float *values, size_t count) {
  uint8_t block[QK_MOST_BLOCK_BYTES];
  for (size_t b = 0; b < count / 256; b++) {
    qk_gather_block(q4_k_layout, (const uint8_t *)group + b * BYTES, row, block);
    qk_q4_k_decode(block, values + 256 * b, 256);
  }
}

// Adds the product of a block of 8 parts.
static float add_block(const uint8_t *block, const qk_a8_block *x, float total) {
  for (int p = 0; p < 8; p++, x++) {
    const qk_scale6 scale = qk_scale6_of(block + 4, p);
    const float d = qk_half_to_float(qk_load_u16(block)) * (float)scale.scale;
    const float m = -qk_half_to_float(qk_load_u16(block + 2)) * (float)scale.minimum;
    int32_t products = 0;
    for (int k = 0; k < 32; k++) {
      products += (block[16 + p / 2 * 32 + k] >> p % 2 * 4 & 15) * x->values[k];
    }
    total = fmaf((float)products, d * x->scale, total);
    total = fmaf(m, x->scale * (float)x->sum, total);
  }
  return total;
}

void qk_q4_kx16_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                          const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                          size_t y_stride) {
  QK_CHOOSE_GROUP_TWIN(qk_q4_kx16_matmul_a8)
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *group = (const uint8_t *)weights + r / QK_GROUP * QK_GROUP * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      float total = 0;
      for (size_t b = 0; b < columns / 256; b++) {
        uint8_t block[QK_MOST_BLOCK_BYTES];
        qk_gather_block(q4_k_layout, group + b * BYTES, r % QK_GROUP, block);
        total = add_block(block, x + t * x_stride + 8 * b, total);
      }
      y[t * y_stride + r] = total;
    }
  }
}
