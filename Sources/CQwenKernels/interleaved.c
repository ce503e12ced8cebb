// The interleaved forms of Q4_0, Q4_1 and Q8_0: making them, decoding them, their products. Sums have
// the shape of blocks.h, so products have the bits of the row-major forms.
#include "interleaved.h"
#include "twins.h"

static const qk_block_layout q4_0_layout = {1, 4}, q4_1_layout = {2, 4}, q8_0_layout = {1, 8};

// The q of a gathered block, element k.
QK_INLINE int32_t q_of(qk_block_layout layout, int32_t offset, const uint8_t *block, size_t k) {
  const uint8_t *q = block + 2 * layout.halves;
  if (layout.words == 8) {
    return (int8_t)q[k];
  }
  return (k < 16 ? q[k] & 15 : q[k - 16] >> 4) - offset;
}

QK_INLINE float d_of(const uint8_t *block) { return qk_half_to_float(qk_load_u16(block)); }

QK_INLINE float m_of(qk_block_layout layout, const uint8_t *block) {
  return layout.halves > 1 ? qk_half_to_float(qk_load_u16(block + 2)) : 0;
}

QK_INLINE void decode(qk_block_layout layout, int32_t offset, const uint8_t *group, size_t row,
                      float *values, size_t count) {
  uint8_t block[64];
  for (size_t b = 0; b < count / 32; b++) {
    qk_gather_block(layout, group + b * QK_GROUP * qk_layout_bytes(layout), row, block);
    const float d = d_of(block);
    const float m = m_of(layout, block);
    for (size_t k = 0; k < 32; k++) {
      const float product = d * (float)q_of(layout, offset, block, k);
      values[32 * b + k] = layout.halves > 1 ? product + m : product;
    }
  }
}

QK_INLINE void matmul(qk_block_layout layout, int32_t offset, const uint8_t *weights,
                      size_t row_bytes, size_t rows, size_t blocks, const qk_a8_block *x,
                      size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const size_t bytes = QK_GROUP * qk_layout_bytes(layout);
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *group = weights + r / QK_GROUP * QK_GROUP * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      float total = 0;
      for (size_t b = 0; b < blocks; b++) {
        const qk_a8_block *a = x + t * x_stride + b;
        uint8_t block[64];
        qk_gather_block(layout, group + b * bytes, r % QK_GROUP, block);
        int32_t products = 0;
        for (size_t k = 0; k < 32; k++) {
          products += q_of(layout, offset, block, k) * a->values[k];
        }
        total = fmaf((float)products, d_of(block) * a->scale, total);
        if (layout.halves > 1) {
          total = fmaf(m_of(layout, block), a->scale * (float)a->sum, total);
        }
      }
      y[t * y_stride + r] = total;
    }
  }
}

#define QK_INTERLEAVED(format, offset)                                                          \
  void qk_##format##x16_pack(const void *source, size_t row_bytes, size_t rows, size_t columns, \
                             void *target) {                                                    \
    qk_interleave(format##_layout, source, row_bytes, rows, columns / 32, target);              \
  }                                                                                             \
  void qk_##format##x16_decode(const void *group, size_t row, float *values, size_t count) {    \
    decode(format##_layout, offset, group, row, values, count);                                 \
  }                                                                                             \
  void qk_##format##x16_matmul_a8(const void *weights, size_t row_bytes, size_t rows,           \
                                  size_t columns, const qk_a8_block *x, size_t x_stride,        \
                                  size_t tokens, float *y, size_t y_stride) {                   \
    QK_CHOOSE_GROUP_TWIN(qk_##format##x16_matmul_a8)                                            \
    matmul(format##_layout, offset, weights, row_bytes, rows, columns / 32, x, x_stride,        \
           tokens, y, y_stride);                                                                \
  }

QK_INTERLEAVED(q4_0, 8)
QK_INTERLEAVED(q4_1, 0)
QK_INTERLEAVED(q8_0, 0)
