// Blocks of 32: half-precision d, a byte z (at most 16), then 4-bit codes, 16 bytes for each 32 elements as in Q4_0.
// The value is d (q - z): what GPTQ and AWQ mean, exactly.
#include "parts.h"

enum { BYTES = 19 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 1, .codes = QK_CODES_4, .has_zero = 1};

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source));
  qk_nibbles(source + 3 + 16 * part, out->q);
  for (int k = 0; k < 32; k++) {
    out->q[k] -= source[2];
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  const __m256i words = qk_words8(row, block * BYTES);
  head->d = qk_low_halves(words);
  head->w[0] = _mm256_and_si256(_mm256_srli_epi32(words, 16), _mm256_set1_epi32(255));
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks;
  out->d = head->d;
  out->zero = head->w[0];
  qk_nibbles8(row, block * BYTES + 3 + 16 * (size_t)part, out->q);
}
#endif

QK_PARTS_DECODE(z4_32, traits, unpack)
QK_PARTS_MATMUL(z4_32, traits, unpack, head8, unpack8)
