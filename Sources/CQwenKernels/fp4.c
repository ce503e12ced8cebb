// Blocks of 64 as those of NF4 with the table of FP4: a sign, two bits of exponent, one of fraction.
#include "codebook4.h"

// Twelfths; 32640 times these are whole numbers.
static const qk_wide_table table = {
    .values = {0.0f, 0.0625f / 12, 8.0f / 12, 12.0f / 12, 4.0f / 12, 6.0f / 12, 2.0f / 12, 3.0f / 12,
               0.0f, -0.0625f / 12, -8.0f / 12, -12.0f / 12, -4.0f / 12, -6.0f / 12, -2.0f / 12,
               -3.0f / 12},
    .inverse = 1.0f / 32640,
    .entries = {0, 170, 21760, 32640, 10880, 16320, 5440, 8160, 0, -170, -21760, -32640, -10880,
                -16320, -5440, -8160},
};

#define TABLE table
#include "codebook64.h"

void qk_fp4_decode(const void *source, float *values, size_t count) {
  decode(source, values, count);
}

QK_PARTS_MATMUL(fp4)
QK_PARTS_INTERLEAVED(fp4)
