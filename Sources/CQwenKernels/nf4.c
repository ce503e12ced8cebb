// Blocks of 64 with the table of NF4, as bitsandbytes has it; only the order of codes differs from its files.
#include "fit.h"
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

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  const qk_grid grid = {0, 0, qk_nf4_table.values};
  uint8_t *block = target;
  for (size_t b = 0; b < count / 64; b++, block += BYTES, values += 64) {
    // What is no number stays as the plain encoder leaves it.
    qk_nf4_encode(values, block, 64);
    if (!qk_is_finite(values, 64)) {
      continue;
    }
    float w[64];
    qk_weights_of(importance ? importance + 64 * b : 0, w, 64);
    const qk_line plain = {largest_of(block), 0};
    const qk_line fit = {qk_fit_scale(grid, values, w, 64), 0};
    const qk_line line = qk_choose_line(grid, values, w, 64, plain, fit);
    uint8_t codes[64];
    qk_codes_of(grid, values, 64, line, codes);
    memcpy(block, &line.d, sizeof line.d);
    qk_store_nibbles(block + 4, codes);
    qk_store_nibbles(block + 20, codes + 32);
  }
}

QK_BEST_ENCODER(nf4)
