// Blocked formats seen as parts of 32 elements, each with integer codes and float factors: one shape that
// every blocked format can be unpacked to, and the product and the decoding that follow from it.
//
// Element k of a part is d s[k / 16] q[k] + m o[k / 16]. Sum shape of a row times a token: in a part the
// products of codes and activations, times s, are added exactly as integers; then, in rising order of
// parts, one float takes
//   total = fma(sum of s q x, d * scale, total)
// and, in formats with a minimum, total = fma(m, scale * (sum of o x), total), where scale belongs to
// the block of activations.
//
// A format says where the codes of a part lie (qk_place_of) and what its factors are, once for a row
// (qk_factors) and once for 8 rows side by side (parts8.h); all else is here and in the twins.
#ifndef QK_PARTS_H
#define QK_PARTS_H

#include "half.h"
#include "twins.h"

#include <math.h>

// Codes of a format as the fast twins hold them.
typedef enum {
  QK_CODES_4,     // unsigned, at most 15
  QK_CODES_5,     // unsigned, at most 31
  QK_CODES_6,     // unsigned, at most 63
  QK_CODES_SIGNED, // signed bytes
  QK_CODES_WIDE,  // signed, 16 bits
} qk_codes;

// What is fixed for a format; known when compiled.
typedef struct {
  size_t bytes;     // of a block
  int parts;        // of a block
  qk_codes codes;
  int32_t offset;   // taken off unsigned codes
  int has_zero;     // each row's part has an integer that is taken off, too
  int has_minimum;
  int has_halves;   // s differs between the halves of a part; otherwise it is 1
  int has_minimum_halves; // o differs; otherwise it is 1
  const int8_t *table;  // of signed codes that stand for its 16 entries; else null
  const int16_t *wide;  // of wide codes: what 4 bits stand for
  int is_vnni; // set by twins for AVX-VNNI, not by formats
  size_t head; // bytes before the blocks of a row, where that is alike for all lengths
  int alike; // parts after which codes and factors lie as before, further on; 0: never
  int is_tail; // bytes of a block left by division by 4 stand at its end (parts_groups.h)
} qk_traits;

// Where the codes of a part lie, in bytes from the start of the row.
typedef struct {
  size_t low; // 32 bytes: low_bits bits of each code, from bit low_shift on
  int low_bits, low_shift;
  int is_split;  // instead 16 bytes: elements 16 ... 31 in the upper 4 bits
  int is_biased; // bytes are 128 more than signed codes
  size_t high; // 32 bytes: high_bits bits that come above, from bit high_shift on
  int high_bits, high_shift;
  size_t word; // 4 bytes: bit k is bit 4 of code k
  int has_word;
  // Of groups only: 24 bytes at low, 12 for each half. Three words there have codes 0 ... 11 of the half in their lower 6
  // bits; the upper 2 are those of codes 12 ... 15, lowest first.
  int is_shared;
} qk_place;

typedef qk_place qk_place_of(size_t blocks, size_t block, int part);

typedef struct {
  int32_t q[32];
  float d, m;
  int32_t s[2], o[2], zero;
} qk_part;

// Factors of part `part` of block `block` of a row of `blocks` blocks; *out begins as zeros, with s and o of 1.
typedef void qk_factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out);

QK_INLINE int32_t qk_code_at(qk_traits traits, qk_place at, const uint8_t *row, int k) {
  int32_t code = at.is_split ? row[at.low + (size_t)k % 16] >> k / 16 * 4
                             : row[at.low + (size_t)k] >> at.low_shift;
  code &= (1 << at.low_bits) - 1;
  if (at.high_bits > 0) {
    const int32_t high = row[at.high + (size_t)k] >> at.high_shift & ((1 << at.high_bits) - 1);
    code |= high << at.low_bits;
  }
  if (at.has_word) {
    code |= (row[at.word + (size_t)k / 8] >> k % 8 & 1) << 4;
  }
  if (traits.wide) {
    return traits.wide[code];
  }
  if (traits.table) {
    return traits.table[code];
  }
  if (traits.codes == QK_CODES_SIGNED) {
    return at.is_biased ? code - 128 : (int8_t)code;
  }
  return code - traits.offset;
}

QK_INLINE qk_part qk_unpack(qk_traits traits, qk_place_of *place, qk_factors *factors,
                            const uint8_t *row, size_t blocks, size_t block, int part) {
  qk_part out = {.s = {1, 1}, .o = {1, 1}};
  factors(row, blocks, block, part, &out);
  const qk_place at = place(blocks, block, part);
  for (int k = 0; k < 32; k++) {
    out.q[k] = qk_code_at(traits, at, row, k) - out.zero;
  }
  return out;
}

QK_INLINE void qk_decode_parts(qk_traits traits, qk_place_of *place, qk_factors *factors,
                               const void *source, float *values, size_t count) {
  const size_t blocks = count / 32 / (size_t)traits.parts;
  for (size_t b = 0; b < blocks; b++) {
    for (int p = 0; p < traits.parts; p++, values += 32) {
      const qk_part part = qk_unpack(traits, place, factors, source, blocks, b, p);
      for (int k = 0; k < 32; k++) {
        const float value = part.d * (float)part.s[k / 16] * (float)part.q[k];
        values[k] = traits.has_minimum ? value + part.m * (float)part.o[k / 16] : value;
      }
    }
  }
}

// Adds the product of a block of one row, `x` the activations of its first part.
QK_INLINE float qk_add_block(qk_traits traits, qk_place_of *place, qk_factors *factors,
                             const uint8_t *row, size_t blocks, size_t block, const qk_a8_block *x,
                             float total) {
  for (int p = 0; p < traits.parts; p++, x++) {
    const qk_part part = qk_unpack(traits, place, factors, row, blocks, block, p);
    int32_t products[2] = {0, 0};
    int32_t sums[2] = {0, 0};
    for (int k = 0; k < 32; k++) {
      products[k / 16] += part.q[k] * x->values[k];
      sums[k / 16] += x->values[k];
    }
    const int32_t product = part.s[0] * products[0] + part.s[1] * products[1];
    total = fmaf((float)product, part.d * x->scale, total);
    if (traits.has_minimum) {
      const int32_t sum = part.o[0] * sums[0] + part.o[1] * sums[1];
      total = fmaf(part.m, x->scale * (float)sum, total);
    }
  }
  return total;
}

QK_INLINE void qk_matmul_parts(qk_traits traits, qk_place_of *place, qk_factors *factors,
                               const void *weights, size_t row_bytes, size_t rows, size_t columns,
                               const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                               size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      float total = 0;
      for (size_t b = 0; b < blocks; b++) {
        const qk_a8_block *block = x + t * x_stride + b * (size_t)traits.parts;
        total = qk_add_block(traits, place, factors, row, blocks, b, block, total);
      }
      y[t * y_stride + r] = total;
    }
  }
}

#define QK_PARTS_DECODE(name)                                                                       \
  void qk_##name##_decode(const void *source, float *values, size_t count) {                        \
    qk_decode_parts(traits, place, factors, source, values, count);                                 \
  }

// The product of the format `name`, from what its file calls traits, place, factors, head8 and factors8.
#define QK_PARTS_MATMUL(name)                                                                       \
  QK_PARTS_TWINS(qk_##name##_matmul_a8)                                                             \
  void qk_##name##_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,    \
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,        \
                             size_t y_stride) {                                                     \
    QK_CHOOSE_TWIN(qk_##name##_matmul_a8)                                                           \
    qk_matmul_parts(traits, place, factors, weights, row_bytes, rows, columns, x, x_stride, tokens, \
                    y, y_stride);                                                                   \
  }

#include "parts_avx2.h"
#include "parts_avx512.h"
#include "parts_groups.h"
#include "parts_neon.h"

#if !QK_X86 && !QK_ARM
#define QK_PARTS_TWINS(name)
#endif

#endif
