// Activations in 8 bits.
#include "a8.h"
#include "half.h"
#include "twins.h"

#include <math.h>

void qk_a8_quantize(const float *x, qk_a8_block *blocks, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_a8_quantize_avx2(x, blocks, count);
    return;
  }
#endif
  for (size_t b = 0; b < count / 32; b++, x += 32) {
    qk_a8_block *block = blocks + b;
    // As integers, magnitudes are ordered: finite, infinity, NaN.
    uint32_t largest = 0;
    for (size_t k = 0; k < 32; k++) {
      const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
      largest = magnitude > largest ? magnitude : largest;
    }
    const float scale = qk_float_of(largest) / 127;
    block->scale = scale;
    if (largest >= 0x7f800000 || scale == 0) {
      memset(block->values, 0, 32);
      qk_a8_set_sums(block, 0, 0);
      continue;
    }
    int32_t sums[2] = {0, 0};
    for (size_t k = 0; k < 32; k++) {
      // A scale among the smallest numbers is coarse: hence the limits.
      const float value = fminf(fmaxf(x[k] / scale, -127), 127);
      // Adding 1.5 * 2^23 rounds to an integer, half to even.
      const int32_t q = (int32_t)(qk_bits_of(value + 0x1.8p23f) - 0x4b400000);
      block->values[k] = (int8_t)q;
      sums[k / 16] += q;
    }
    qk_a8_set_sums(block, sums[0], sums[1]);
  }
}
