// Blocks of PARTS times 32: half-precision d, a byte z (at most 16), then 4-bit codes, 16 bytes for each 32 elements as in
// Q4_0. The value is d (q - z): what GPTQ and AWQ mean, exactly.
#include "parts.h"

enum { BYTES = 3 + 16 * PARTS };
static const qk_traits traits = {
    .bytes = BYTES, .parts = PARTS, .codes = QK_CODES_4, .has_zero = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){
      .low = block * BYTES + 3 + 16 * (size_t)part, .low_bits = 4, .is_split = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  out->d = qk_half_to_float(qk_load_u16(row + block * BYTES));
  out->zero = row[block * BYTES + 2];
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = qk_half_numbers8(rows, block * BYTES);
  head->w[0] = qk_bytes8(rows, block * BYTES + 2);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
  out->zero = head->w[0];
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->d = qk_half_numbers4(rows, block * BYTES);
  head->w[0] = qk_bytes4(rows, block * BYTES + 2);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
  out->zero[0] = vreinterpretq_s32_u32(head->w[0]);
}
#endif
