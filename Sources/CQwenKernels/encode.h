// Pieces of the encoders. They round as the `gguf` package does, whatever the input: what is no number or
// beyond a code's range becomes what a conversion of the processor leaves in the low byte.
#ifndef QK_ENCODE_H
#define QK_ENCODE_H

#include "half.h"

#include <math.h>

QK_INLINE void qk_store_u16(void *target, uint16_t bits) { memcpy(target, &bits, sizeof bits); }

QK_INLINE void qk_store_half(void *target, float value) {
  qk_store_u16(target, qk_float_to_half(value));
}

// The integer part; 0 for what is no number or beyond 31 bits.
QK_INLINE int32_t qk_whole(float value) {
  return fabsf(value) < 0x1p31f ? (int32_t)value : 0;
}

// The code of value + offset: cut to an integer, then to its low byte, then to 0 ... most.
QK_INLINE uint8_t qk_code(float value, float offset, uint8_t most) {
  const uint8_t code = (uint8_t)qk_whole(value + offset);
  return code < most ? code : most;
}

// Nearest integer, halves away from zero; 0 for what is no number or infinite.
QK_INLINE int32_t qk_round_away(float value) {
  const float magnitude = fabsf(value);
  if (!(magnitude < 0x1p23f)) {
    return qk_whole(value);
  }
  const float below = (float)(int32_t)magnitude;
  const float nearest = below + (magnitude - below >= 0.5f ? 1.0f : 0.0f);
  return (int32_t)(value < 0 ? -nearest : nearest);
}

// 1 / d, or 0 for a block of zeros.
QK_INLINE float qk_inverse(float d) { return d == 0 ? 0 : 1 / d; }

// The first value of the largest magnitude; the first that is no number, if there is one.
QK_INLINE float qk_largest32(const float *x) {
  float largest = x[0];
  for (size_t k = 1; k < 32 && !isnan(largest); k++) {
    if (isnan(x[k]) || fabsf(x[k]) > fabsf(largest)) {
      largest = x[k];
    }
  }
  return largest;
}

typedef struct {
  float low, high;
} qk_range;

// The least and the greatest value; not a number if one of them is none.
QK_INLINE qk_range qk_range32(const float *x) {
  qk_range range = {x[0], x[0]};
  for (size_t k = 0; k < 32; k++) {
    if (isnan(x[k])) {
      return (qk_range){x[k], x[k]};
    }
    range.low = x[k] < range.low ? x[k] : range.low;
    range.high = x[k] > range.high ? x[k] : range.high;
  }
  return range;
}

// 32 codes of 5 bits: a word of fifth bits, then 16 bytes of two 4-bit codes.
QK_INLINE void qk_store_codes5(uint8_t *target, const uint8_t codes[32]) {
  uint32_t high = 0;
  for (size_t k = 0; k < 32; k++) {
    high |= (uint32_t)(codes[k] >> 4) << k;
  }
  memcpy(target, &high, sizeof high);
  for (size_t k = 0; k < 16; k++) {
    target[4 + k] = (uint8_t)((codes[k] & 15) | codes[k + 16] << 4);
  }
}

#endif
