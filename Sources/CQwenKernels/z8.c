// Blocks of 32: half-precision d, 16 bits z (at most 256), then 32 unsigned bytes q. The value is d (q - z): what
// GPTQ with 8 bits means, exactly.
#include "parts.h"

enum { BYTES = 36 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 1, .codes = QK_CODES_SIGNED, .has_zero = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks, (void)part;
  return (qk_place){.low = block * BYTES + 4, .low_bits = 8, .is_biased = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  out->d = qk_half_to_float(qk_load_u16(row + block * BYTES));
  // Codes are made signed: 128 less, and so is what is taken off.
  out->zero = qk_load_u16(row + block * BYTES + 2) - 128;
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  const __m256i words = qk_words8(rows, block * BYTES);
  head->d = qk_low_halves(words);
  head->w[0] = _mm256_sub_epi32(_mm256_srli_epi32(words, 16), _mm256_set1_epi32(128));
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
  out->zero = head->w[0];
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  const uint32x4_t words = qk_words4(rows, block * BYTES);
  head->d = qk_low_halves4(words);
  head->w[0] = (words >> 16) - 128;
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
  out->zero[0] = vreinterpretq_s32_u32(head->w[0]);
}
#endif

QK_PARTS_DECODE(z8)
QK_PARTS_MATMUL(z8)
QK_PARTS_INTERLEAVED(z8)
