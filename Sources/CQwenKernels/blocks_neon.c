// Q4_0, Q4_1 and Q8_0 times 8-bit activations with NEON, as rows and as groups: as formats of parts. What lies at
// byte o of a block lies at byte 16 o of a group of blocks.
#include "blocks.h"
#include "parts.h"

#if QK_ARM

QK_INLINE void factors(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
  out->m[0] = head->m;
}

#define QK_BLOCKS_NEON(name, size, has_m, code, minus, bits, split)                                 \
  QK_INLINE qk_place name##_place(size_t blocks, size_t block, int part) {                          \
    (void)blocks, (void)part;                                                                       \
    return (qk_place){.low = block * size + (has_m ? 4 : 2), .low_bits = bits, .is_split = split};  \
  }                                                                                                 \
  QK_INLINE void name##_head(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {   \
    (void)blocks;                                                                                   \
    head->d = qk_half_numbers4(rows, block * size);                                                 \
    head->m = has_m ? qk_half_numbers4(rows, block * size + 2) : vdupq_n_f32(0);                    \
  }                                                                                                 \
  static const qk_traits name##_traits = {                                                          \
      .bytes = size, .parts = 1, .codes = code, .offset = minus, .has_minimum = has_m};             \
  QK_TWINS_N(, qk_##name##_matmul_a8, name##_traits, 0, name##_place, name##_head, factors)         \
  QK_TWINS_N(, qk_##name##x16_matmul_a8, name##_traits, 1, name##_place, name##_head, factors)

QK_BLOCKS_NEON(q4_0, QK_Q4_0_BYTES, 0, QK_CODES_4, 8, 4, 1)
QK_BLOCKS_NEON(q4_1, QK_Q4_1_BYTES, 1, QK_CODES_4, 0, 4, 1)
QK_BLOCKS_NEON(q8_0, QK_Q8_0_BYTES, 0, QK_CODES_SIGNED, 0, 8, 0)

#endif
