// Blocks of 64 as those of NF4 with the table of FP4: a sign, two bits of exponent, one of fraction.
#include "codebook4.h"

enum { BYTES = 36 };
static const qk_traits traits = {.bytes = BYTES, .parts = 2, .codes = QK_CODES_WIDE};

// Twelfths; 16128 times these are whole numbers.
static const qk_wide_table table = {
    .values = {0.0f, 0.0625f / 12, 8.0f / 12, 12.0f / 12, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12,
               0.0f, -0.0625f / 12, -8.0f / 12, -12.0f / 12, -4.0f / 12, -6.0f / 12, -2.0f / 12,
               -3.0f / 12},
    .unit = 16128,
    .high = {0, 0, 84, 126, 42, 63, 21, 31, 0, -1, -84, -126, -42, -63, -21, -32},
    .low = {0, 84, 0, 0, 0, 0, 0, 64, 0, 44, 0, 0, 0, 0, 0, 64},
};
#define TABLE (&table)


static float largest_of(const uint8_t *block) {
  float largest;
  memcpy(&largest, block, sizeof largest);
  return largest;
}

void qk_fp4_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / 64; b++, block += BYTES, values += 64) {
    qk_decode_wide(TABLE, block + 4, largest_of(block), values);
    qk_decode_wide(TABLE, block + 20, largest_of(block), values + 32);
  }
}

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  qk_unpack_wide(TABLE, source + 4 + 16 * part, largest_of(source), out);
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = _mm256_div_ps(qk_floats8(row, block * BYTES), _mm256_set1_ps(TABLE->unit));
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks;
  qk_unpack_wide8(TABLE, row, block * BYTES + 4 + 16 * (size_t)part, head->d, out);
}
#endif

QK_PARTS_MATMUL(fp4, traits, unpack, head8, unpack8)
