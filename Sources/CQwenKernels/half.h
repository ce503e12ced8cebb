// Half precision and bfloat16 without instructions for them.
#ifndef QK_HALF_H
#define QK_HALF_H

#include "isa.h"

#include <string.h>

QK_INLINE float qk_float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

QK_INLINE uint32_t qk_bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

QK_INLINE uint16_t qk_load_u16(const void *source) {
  uint16_t bits;
  memcpy(&bits, source, sizeof bits);
  return bits;
}
QK_INLINE uint32_t qk_load_u32(const void *source) {
  uint32_t bits;
  memcpy(&bits, source, sizeof bits);
  return bits;
}

// Exact; a signalling NaN becomes quiet, as the instruction does.
QK_INLINE float qk_half_to_float(uint16_t half) {
#if QK_ARM
  __fp16 value;
  memcpy(&value, &half, sizeof value);
  return (float)value;
#endif
  const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  const uint32_t rest = half & 0x7fff;
  if (rest >= 0x7c00) {
    return qk_float_of(sign | 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000 : 0));
  }
  // Below the smallest normal number the fraction counts units of 2^-24.
  if (rest < 0x400) {
    const float magnitude = (float)rest * 0x1p-24f;
    return qk_float_of(sign | qk_bits_of(magnitude));
  }
  return qk_float_of(sign | ((rest << 13) + 0x38000000));
}

// To nearest, ties to even; too large becomes infinity, a NaN stays one.
QK_INLINE uint16_t qk_float_to_half(float value) {
  const uint32_t bits = qk_bits_of(value);
  const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
  const uint32_t rest = bits & 0x7fffffff;
  if (rest > 0x7f800000) {
    return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
  }
  if (rest >= 0x477ff000) {
    return (uint16_t)(sign | 0x7c00);
  }
  if (rest < 0x38800000) {
    // Adding 0.5 puts units of 2^-24 at the end of the fraction and rounds them.
    const float shifted = qk_float_of(rest) + 0.5f;
    return (uint16_t)(sign | (qk_bits_of(shifted) - 0x3f000000));
  }
  const uint32_t odd = rest >> 13 & 1;
  return (uint16_t)(sign | (rest - 0x38000000 + 0xfff + odd) >> 13);
}

// To nearest, ties to even; a NaN stays one and becomes quiet.
QK_INLINE uint16_t qk_float_to_bfloat(float value) {
  uint32_t bits = qk_bits_of(value);
  if ((bits & 0x7fffffff) > 0x7f800000) {
    return (uint16_t)(bits >> 16 | 0x40);
  }
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

QK_INLINE float qk_bfloat_to_float(uint16_t bits) { return qk_float_of((uint32_t)bits << 16); }

#endif
