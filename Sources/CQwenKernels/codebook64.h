// The code of a format with blocks of 64: a float with the largest magnitude, then 4-bit codes, 16 bytes for each 32
// elements as in Q4_0. The value is largest * table[q]. To be included once, where TABLE is one of codebook4.h.
#include "codebook4.h"

enum { BYTES = 36 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 2, .codes = QK_CODES_WIDE, .wide = TABLE.entries};

static float largest_of(const uint8_t *block) {
  float largest;
  memcpy(&largest, block, sizeof largest);
  return largest;
}

static void decode(const uint8_t *block, float *values, size_t count) {
  for (size_t b = 0; b < count / 64; b++, block += BYTES, values += 64) {
    qk_decode_wide(&TABLE, block + 4, largest_of(block), values);
    qk_decode_wide(&TABLE, block + 20, largest_of(block), values + 32);
  }
}

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + 4 + 16 * (size_t)part, .low_bits = 4, .is_split = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  out->d = largest_of(row + block * BYTES) * TABLE.inverse;
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = _mm256_mul_ps(qk_floats8(rows, block * BYTES), _mm256_set1_ps(TABLE.inverse));
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->d = vmulq_n_f32(qk_floats4(rows, block * BYTES), TABLE.inverse);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
}
#endif
