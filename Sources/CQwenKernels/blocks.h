// Blocked formats times 8-bit activations.
//
// Sum shape, the same for every instruction set, row and token count: a block's 32 products are
// added exactly as integers; then, in rising block order, one float takes
//   total = fma(products, d * scale, total)
// and, in formats with a minimum m, total = fma(m, scale * sum, total), where d and m belong to the
// block of weights, scale and sum to the block of activations.
#ifndef QK_BLOCKS_H
#define QK_BLOCKS_H

#include "half.h"

#include <math.h>

enum { QK_Q4_0_BYTES = 18, QK_Q4_1_BYTES = 20, QK_Q8_0_BYTES = 34 };

// The product of one row and one token.
typedef float qk_row_product(const uint8_t *row, const qk_a8_block *x, size_t blocks);

QK_INLINE void qk_matmul_a8_scalar(qk_row_product *product, const void *weights, size_t row_bytes,
                                   size_t rows, size_t columns, const qk_a8_block *x,
                                   size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      y[t * y_stride + r] = product(row, x + t * x_stride, columns / 32);
    }
  }
}

#endif
