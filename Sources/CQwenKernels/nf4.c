// Blocks of 64 with the table of NF4, as bitsandbytes has it; only the order of codes differs from its files.
#include "nf4_table.h"

#define TABLE qk_nf4_table
#include "codebook64.h"

void qk_nf4_decode(const void *source, float *values, size_t count) {
  decode(source, values, count);
}

QK_PARTS_MATMUL(nf4)
QK_PARTS_INTERLEAVED(nf4)

void qk_nf4_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 64; b++, block += BYTES, values += 64) {
    const float largest = qk_largest64(values);
    memcpy(block, &largest, sizeof largest);
    qk_nf4_codes(values, largest, block + 4);
  }
}
