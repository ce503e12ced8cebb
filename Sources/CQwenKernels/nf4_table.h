// The 16 values of NF4 and what is between them: midpoints, rounded to float as bitsandbytes does on a processor.
#ifndef QK_NF4_TABLE_H
#define QK_NF4_TABLE_H

#include "codebook4.h"

// Of all units of 16 bits, with this one the roundings of the entries are among the least: 8e-6 of their mean.
static const qk_wide_table qk_nf4_table = {
    .values = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
               -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
               0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
               0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f,
               1.0f},
    .inverse = 1.0f / 31908,
    .entries = {-31908, -22214, -16754, -12601, -9076, -5896, -2905, 0, 2539, 5135, 7853, 10782,
                14062, 17952, 23068, 31908},
};

// The largest magnitude of 64 values; not a number if one of them is none.
QK_INLINE float qk_largest64(const float *values) {
  float largest = 0;
  for (size_t k = 0; k < 64 && !isnan(largest); k++) {
    const float magnitude = fabsf(values[k]);
    largest = magnitude > largest || isnan(magnitude) ? magnitude : largest;
  }
  return largest;
}

// Codes of 64 values: 32 bytes, elements k and k + 16 of each 32 in one. On a midpoint the lower code; 15 for what
// is no number.
QK_INLINE void qk_nf4_codes(const float *values, float largest, uint8_t *target) {
  const float inverse = 1.0f / (largest < 1e-38f ? 1e-38f : largest);
  uint8_t codes[64];
  for (size_t k = 0; k < 64; k++) {
    float scaled = values[k] * inverse;
    scaled = scaled < -1 ? -1 : scaled > 1 ? 1 : scaled;
    uint8_t code = 0;
    for (size_t i = 0; i < 15; i++) {
      const float middle = (qk_nf4_table.values[i] + qk_nf4_table.values[i + 1]) / 2;
      code += !(scaled <= middle);
    }
    codes[k] = code;
  }
  for (size_t k = 0; k < 16; k++) {
    target[k] = (uint8_t)(codes[k] | codes[k + 16] << 4);
    target[k + 16] = (uint8_t)(codes[k + 32] | codes[k + 48] << 4);
  }
}

#endif
