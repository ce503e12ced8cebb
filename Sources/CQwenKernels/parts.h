// Blocked formats seen as parts of 32 elements, each with integer codes and float factors: one shape that
// every blocked format can be unpacked to, and the product and the decoding that follow from it.
//
// Element k of a part is d s[k / 16] q[k] + m o[k / 16]. Sum shape of a row times a token: in a part the
// products of codes and activations, times s, are added exactly as integers; then, in rising order of
// parts, one float takes
//   total = fma(sum of s q x, d * scale, total)
// and, in formats with a minimum, total = fma(m, scale * (sum of o x), total), where scale belongs to
// the block of activations.
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
  QK_CODES_WIDE,  // 128 * a signed byte + a byte of at most 127
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
  int is_vnni; // set by twins for AVX-VNNI, not by formats
} qk_traits;

typedef struct {
  int32_t q[32];
  float d, m;
  int32_t s[2], o[2];
} qk_part;

// Part `part` of block `block` of a row of `blocks` blocks; *out begins as zeros, with s and o of 1.
typedef void qk_unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out);

QK_INLINE void qk_decode_parts(qk_traits traits, qk_unpack *unpack, const void *source, float *values,
                               size_t count) {
  const size_t blocks = count / 32 / (size_t)traits.parts;
  for (size_t b = 0; b < blocks; b++) {
    for (int p = 0; p < traits.parts; p++, values += 32) {
      qk_part part = {.s = {1, 1}, .o = {1, 1}};
      unpack(source, blocks, b, p, &part);
      for (int k = 0; k < 32; k++) {
        const float value = part.d * (float)part.s[k / 16] * (float)part.q[k];
        values[k] = traits.has_minimum ? value + part.m * (float)part.o[k / 16] : value;
      }
    }
  }
}

QK_INLINE float qk_row_of_parts(qk_traits traits, qk_unpack *unpack, const uint8_t *row, size_t blocks,
                                const qk_a8_block *x) {
  float total = 0;
  for (size_t b = 0; b < blocks; b++) {
    for (int p = 0; p < traits.parts; p++, x++) {
      qk_part part = {.s = {1, 1}, .o = {1, 1}};
      unpack(row, blocks, b, p, &part);
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
  }
  return total;
}

QK_INLINE void qk_matmul_parts(qk_traits traits, qk_unpack *unpack, const void *weights,
                               size_t row_bytes, size_t rows, size_t columns, const qk_a8_block *x,
                               size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      y[t * y_stride + r] = qk_row_of_parts(traits, unpack, row, blocks, x + t * x_stride);
    }
  }
}

// 16 bytes of two 4-bit codes: elements 0 ... 15 in the low halves, 16 ... 31 in the high ones.
QK_INLINE void qk_nibbles(const uint8_t *bytes, int32_t q[32]) {
  for (int k = 0; k < 16; k++) {
    q[k] = bytes[k] & 15;
    q[k + 16] = bytes[k] >> 4;
  }
}

#define QK_PARTS_DECODE(name, traits, unpack)                                                       \
  void qk_##name##_decode(const void *source, float *values, size_t count) {                        \
    qk_decode_parts(traits, unpack, source, values, count);                                         \
  }

// The product of the format `name` from its unpacking, scalar and, with head8 and unpack8, fast.
#define QK_PARTS_MATMUL(name, traits, unpack, head8, unpack8)                                       \
  QK_PARTS_TWINS(qk_##name##_matmul_a8, traits, head8, unpack8)                                     \
  void qk_##name##_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,    \
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,        \
                             size_t y_stride) {                                                     \
    QK_CHOOSE_TWIN(qk_##name##_matmul_a8)                                                           \
    qk_matmul_parts(traits, unpack, weights, row_bytes, rows, columns, x, x_stride, tokens, y,      \
                    y_stride);                                                                      \
  }

#include "parts_avx2.h"
#include "parts_avx512.h"

#if !QK_X86
#define QK_PARTS_TWINS(name, traits, head8, unpack8)
#endif

#endif
