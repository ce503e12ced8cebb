// Blocks of 64: a float with the largest magnitude, then 4-bit codes, 16 bytes for each 32 elements as in Q4_0. The
// value is largest * table[q], as bitsandbytes has it; only the order of codes differs from its files.
#include "nf4_table.h"

enum { BYTES = 36 };
static const qk_traits traits = {.bytes = BYTES, .parts = 2, .codes = QK_CODES_WIDE};
#define TABLE (&qk_nf4_table)

static float largest_of(const uint8_t *block) {
  float largest;
  memcpy(&largest, block, sizeof largest);
  return largest;
}

void qk_nf4_decode(const void *source, float *values, size_t count) {
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

QK_PARTS_MATMUL(nf4, traits, unpack, head8, unpack8)

void qk_nf4_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 64; b++, block += BYTES, values += 64) {
    const float largest = qk_largest64(values);
    memcpy(block, &largest, sizeof largest);
    qk_nf4_codes(values, largest, block + 4);
  }
}
