// 4-bit codes that stand for entries of a table.
#ifndef QK_CODEBOOK4_H
#define QK_CODEBOOK4_H

#include "parts.h"

// What IQ4_NL and IQ4_XS have for their codes.
static const int8_t qk_iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};

// The same as floats.
static const float qk_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};

// A table of floats, and the same times `unit` as integers of 16 bits for products, with the inverse of the unit.
typedef struct {
  float values[16];
  float inverse;
  int16_t entries[16];
} qk_wide_table;

// 32 floats from 16 bytes of codes and a factor.
QK_INLINE void qk_decode_wide(const qk_wide_table *table, const uint8_t *bytes, float factor,
                              float *values) {
  for (size_t k = 0; k < 16; k++) {
    values[k] = table->values[bytes[k] & 15] * factor;
    values[k + 16] = table->values[bytes[k] >> 4] * factor;
  }
}

#endif
