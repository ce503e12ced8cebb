// Products of blocked formats and 8-bit activations with AVX2: 8 rows in the lanes of one vector.
//
// One token multiplies blocks as they are loaded. For several tokens the blocks of 8 rows are first
// laid out in a panel of a few kilobytes, which all tokens then pass over, TOKENS at a time.
#include "panel.h"
#include "twins.h"

#if QK_X86

enum {
  TOKENS = 4,
  PANEL_BLOCKS = 16,
};

typedef struct {
  __m256i q[PANEL_BLOCKS][8];
  __m256 d[PANEL_BLOCKS];
  __m256 m[PANEL_BLOCKS];
} panel;

// The exact products of one block of 8 rows and one token.
QK_INLINE QK_AVX2 __m256i products_of(qk_format format, const __m256i q[8], const qk_a8_block *x) {
  const __m256i ones = _mm256_set1_epi16(1);
  if (format == QK_Q8_0) {
    // |q| * sign(a, q): a pair is at most 2 * 128 * 127, which 16 bits hold.
    __m256i sum = _mm256_setzero_si256();
    QK_UNROLL for (int g = 0; g < 8; g++) {
      const __m256i signed_x = _mm256_sign_epi8(qk_four(x, g), q[g]);
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q[g]), signed_x);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
    return sum;
  }
  // 8 pairs of at most 2 * 15 * 127 stay within 16 bits: 30480.
  __m256i pairs = _mm256_maddubs_epi16(q[0], qk_four(x, 0));
  QK_UNROLL for (int g = 1; g < 8; g++) {
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(q[g], qk_four(x, g)));
  }
  const __m256i sum = _mm256_madd_epi16(pairs, ones);
  return format == QK_Q4_0 ? _mm256_sub_epi32(sum, _mm256_set1_epi32(8 * x->sum)) : sum;
}

// Up to 8 rows times one token.
QK_INLINE QK_AVX2 void one_token(qk_format format, const uint8_t *first, size_t row_bytes,
                                 size_t count, size_t blocks, const qk_a8_block *x, float *y) {
  const uint8_t *row[8];
  qk_row_pointers(row, first, row_bytes, count);
  const size_t bytes = qk_block_bytes(format);
  const uint8_t *ahead = first + qk_prefetch_distance(8 * row_bytes);
  __m256 total = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch_block8(format, ahead, row_bytes, b);
    const qk_block8 block = qk_load_block8(format, row, b * bytes);
    const __m256i products = products_of(format, block.q, x + b);
    total = qk_add_block8(format, products, block.d, block.m, x + b, total);
  }
  _mm256_maskstore_ps(y, qk_mask8(count), total);
}

// Adds the products of a panel and a few tokens to y, or stores them if it is the first panel.
QK_INLINE QK_AVX2 void panel_tokens(qk_format format, const int tokens, const panel *p,
                                    size_t blocks, const qk_a8_block *x, size_t x_stride, float *y,
                                    size_t y_stride, int is_first, __m256i mask) {
  __m256 totals[TOKENS];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm256_setzero_ps()
                         : _mm256_maskload_ps(y + (size_t)t * y_stride, mask);
  }
  for (size_t b = 0; b < blocks; b++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *block = x + (size_t)t * x_stride + b;
      const __m256i products = products_of(format, p->q[b], block);
      totals[t] = qk_add_block8(format, products, p->d[b], p->m[b], block, totals[t]);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm256_maskstore_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// Up to 8 rows times several tokens.
QK_INLINE QK_AVX2 void many_tokens(qk_format format, const uint8_t *first, size_t row_bytes,
                                   size_t count, size_t blocks, const qk_a8_block *x,
                                   size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const uint8_t *row[8];
  qk_row_pointers(row, first, row_bytes, count);
  const __m256i mask = qk_mask8(count);
  panel p;
  for (size_t start = 0; start < blocks; start += PANEL_BLOCKS) {
    const size_t filled = blocks - start < PANEL_BLOCKS ? blocks - start : PANEL_BLOCKS;
    for (size_t b = 0; b < filled; b++) {
      const qk_block8 block = qk_load_block8(format, row, (start + b) * qk_block_bytes(format));
      QK_UNROLL for (int g = 0; g < 8; g++) { p.q[b][g] = block.q[g]; }
      p.d[b] = block.d;
      p.m[b] = block.m;
    }
    size_t t = 0;
    for (; t + TOKENS <= tokens; t += TOKENS) {
      panel_tokens(format, TOKENS, &p, filled, x + t * x_stride + start, x_stride,
                   y + t * y_stride, y_stride, start == 0, mask);
    }
    for (; t < tokens; t++) {
      panel_tokens(format, 1, &p, filled, x + t * x_stride + start, x_stride, y + t * y_stride,
                   y_stride, start == 0, mask);
    }
  }
}

QK_INLINE QK_AVX2 void matmul(qk_format format, const uint8_t *weights, size_t row_bytes,
                              size_t rows, size_t blocks, const qk_a8_block *x, size_t x_stride,
                              size_t tokens, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r += 8) {
    const size_t count = rows - r < 8 ? rows - r : 8;
    const uint8_t *first = weights + r * row_bytes;
    if (tokens == 1) {
      one_token(format, first, row_bytes, count, blocks, x, y + r);
    } else if (blocks == 0) {
      for (size_t t = 0; t < tokens; t++) {
        _mm256_maskstore_ps(y + t * y_stride + r, qk_mask8(count), _mm256_setzero_ps());
      }
    } else {
      many_tokens(format, first, row_bytes, count, blocks, x, x_stride, tokens, y + r, y_stride);
    }
  }
}

#define QK_MATMUL(name, format)                                                                 \
  QK_AVX2 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,         \
                    const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,             \
                    size_t y_stride) {                                                          \
    matmul(format, weights, row_bytes, rows, columns / 32, x, x_stride, tokens, y, y_stride);   \
  }

QK_MATMUL(qk_q4_0_matmul_a8_avx2, QK_Q4_0)
QK_MATMUL(qk_q4_1_matmul_a8_avx2, QK_Q4_1)
QK_MATMUL(qk_q8_0_matmul_a8_avx2, QK_Q8_0)

#endif
