// Blocks of 32: half-precision d, 16 bits z (at most 256), then 32 unsigned bytes q. The value is d (q - z): what
// GPTQ with 8 bits means, exactly.
#include "parts.h"

enum { BYTES = 36 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 1, .codes = QK_CODES_SIGNED, .has_zero = 1};

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source));
  for (int k = 0; k < 32; k++) {
    out->q[k] = source[4 + k] - qk_load_u16(source + 2);
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  const __m256i words = qk_words8(row, block * BYTES);
  head->d = qk_low_halves(words);
  // Codes are made signed: 128 less, and so is what is taken off.
  head->w[0] = _mm256_sub_epi32(_mm256_srli_epi32(words, 16), _mm256_set1_epi32(128));
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks, (void)part;
  out->d = head->d;
  out->zero = head->w[0];
  qk_bytes8(row, block * BYTES + 4, out->q);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    out->q[g] = _mm256_xor_si256(out->q[g], _mm256_set1_epi8(-128));
  }
}
#endif

QK_PARTS_DECODE(z8, traits, unpack)
QK_PARTS_MATMUL(z8, traits, unpack, head8, unpack8)
