// Q4_0, Q4_1 and Q8_0 times 8-bit activations with NEON: as formats of parts.
#include "blocks.h"
#include "parts.h"

#if QK_ARM

QK_INLINE void factors(const uint8_t *row, size_t bytes, int has_minimum, size_t block, qk_part *out) {
  out->d = qk_half_to_float(qk_load_u16(row + block * bytes));
  out->m = has_minimum ? qk_half_to_float(qk_load_u16(row + block * bytes + 2)) : 0;
}

#define QK_BLOCKS_NEON(name, size, has_m, code, minus, bits, split)                                 \
  QK_INLINE qk_place name##_place(size_t blocks, size_t block, int part) {                          \
    (void)blocks, (void)part;                                                                       \
    return (qk_place){.low = block * size + (has_m ? 4 : 2), .low_bits = bits, .is_split = split};  \
  }                                                                                                 \
  QK_INLINE void name##_factors(const uint8_t *row, size_t blocks, size_t block, int part,          \
                                qk_part *out) {                                                     \
    (void)blocks, (void)part;                                                                       \
    factors(row, size, has_m, block, out);                                                          \
  }                                                                                                 \
  static const qk_traits name##_traits = {                                                          \
      .bytes = size, .parts = 1, .codes = code, .offset = minus, .has_minimum = has_m};             \
  QK_BLOCKS_TWIN(name, neon, 0)                                                                     \
  QK_BLOCKS_TWIN(name, neondot, 1)

#define QK_BLOCKS_TWIN(name, set, is_dot)                                                           \
  void qk_##name##_matmul_a8_##set(const void *weights, size_t row_bytes, size_t rows,              \
                                   size_t columns, const qk_a8_block *x, size_t x_stride,           \
                                   size_t tokens, float *y, size_t y_stride) {                      \
    qk_matmul_parts_n(name##_traits, is_dot, name##_place, name##_factors, weights, row_bytes, rows, \
                      columns, x, x_stride, tokens, y, y_stride);                                   \
  }

QK_BLOCKS_NEON(q4_0, QK_Q4_0_BYTES, 0, QK_CODES_4, 8, 4, 1)
QK_BLOCKS_NEON(q4_1, QK_Q4_1_BYTES, 1, QK_CODES_4, 0, 4, 1)
QK_BLOCKS_NEON(q8_0, QK_Q8_0_BYTES, 0, QK_CODES_SIGNED, 0, 8, 0)

#endif
