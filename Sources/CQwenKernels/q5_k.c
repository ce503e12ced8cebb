// Blocks of 256 in 8 parts: half-precision d and minimum, 12 bytes of 6-bit scales and minima, 32 bytes whose bit
// p is the fifth bit of part p, 128 bytes of 4-bit codes as in Q4_K. The value is d scale q - dmin minimum.
#define QK_HAS_GROUPS_AVX512 1 // q5_k_avx512.c
#include "scales6.h"
#include "superblock.h"

enum { BYTES = 176 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 8, .alike = 2, .codes = QK_CODES_5, .has_minimum = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + 48 + (size_t)part / 2 * 32,
                    .low_bits = 4,
                    .low_shift = part % 2 * 4,
                    .high = block * BYTES + 16,
                    .high_bits = 1,
                    .high_shift = part};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  qk_factors6(row + block * BYTES, part, out);
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  qk_head_scales6(rows, block * BYTES, head);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  qk_apply_scales6(head, part, out);
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  qk_head4_scales6(rows, block * BYTES, head);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  qk_apply4_scales6(head, part, out);
}
#endif

QK_PARTS_DECODE(q5_k)
QK_PARTS_MATMUL(q5_k)
QK_PARTS_INTERLEAVED(q5_k)

static const qk_super_shape shape = {.grid = {0, 31, 0}, .width = 32, .low = 0, .high = 63};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 256; b++, block += BYTES, values += 256) {
    float w[256];
    uint8_t codes[256];
    qk_weights_of(importance ? importance + 256 * b : 0, w, 256);
    const qk_super s = qk_fit_super(shape, values, w, 1, codes);
    memset(block, 0, BYTES);
    qk_store_half(block, s.d);
    qk_store_half(block + 2, s.m);
    for (int p = 0; p < 8; p++) {
      qk_store_scale6(block + 4, p, (uint8_t)s.scale[p], (uint8_t)s.minimum[p]);
    }
    for (int k = 0; k < 256; k++) {
      block[48 + k / 64 * 32 + k % 32] |= (uint8_t)((codes[k] & 15) << k / 32 % 2 * 4);
      block[16 + k % 32] |= (uint8_t)(codes[k] >> 4 << k / 32);
    }
  }
}

QK_BEST_ENCODER(q5_k)

void qk_q5_k_encode(const float *values, void *target, size_t count) {
  qk_q5_k_encode_best(values, 0, target, count);
}
