// 4-bit codes that stand for entries of a table.
#ifndef QK_CODEBOOK4_H
#define QK_CODEBOOK4_H

#include "parts.h"

// What IQ4_NL and IQ4_XS have for their codes.
static const int8_t qk_iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};

// A table of floats, and the same times `unit` as integers of 15 bits for products: 128 high + low.
typedef struct {
  float values[16];
  float unit;
  int8_t high[16], low[16];
} qk_wide_table;

QK_INLINE int32_t qk_wide_entry(const qk_wide_table *table, int32_t code) {
  return table->high[code] * 128 + table->low[code];
}

// 32 floats from 16 bytes of codes and a factor.
QK_INLINE void qk_decode_wide(const qk_wide_table *table, const uint8_t *bytes, float factor,
                              float *values) {
  for (size_t k = 0; k < 16; k++) {
    values[k] = table->values[bytes[k] & 15] * factor;
    values[k + 16] = table->values[bytes[k] >> 4] * factor;
  }
}

QK_INLINE void qk_unpack_wide(const qk_wide_table *table, const uint8_t *bytes, float factor,
                              qk_part *out) {
  out->d = factor / table->unit;
  qk_nibbles(bytes, out->q);
  for (int k = 0; k < 32; k++) {
    out->q[k] = qk_wide_entry(table, out->q[k]);
  }
}

#if QK_X86
QK_INLINE QK_AVX2 __m256i qk_look_up(const int8_t table[16], __m256i codes) {
  const __m128i entries = _mm_loadu_si128((const __m128i *)table);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), codes);
}

// d is the factor divided by the table's unit.
QK_INLINE QK_AVX2 void qk_unpack_wide8(const qk_wide_table *table, const uint8_t *const row[8],
                                       size_t offset, __m256 d, qk_part8 *out) {
  __m256i codes[8];
  qk_nibbles8(row, offset, codes);
  out->d = d;
  QK_UNROLL for (int g = 0; g < 8; g++) {
    out->q[g] = qk_look_up(table->high, codes[g]);
    out->low[g] = qk_look_up(table->low, codes[g]);
  }
}
#endif

#endif
