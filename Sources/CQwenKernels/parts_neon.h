// Products of parts with NEON: 4 rows, whose sums lie in the lanes of one vector, as in the other twins exact in
// integers.
//
// One token multiplies parts as they are unpacked. For several tokens the parts of 4 rows are first laid out in a
// panel of a few kilobytes, which all tokens then pass over, two at a time.
//
// The twins for `dotprod` differ in one instruction, which is assembly: an intrinsic of another set cannot be inlined into
// loops that are compiled for both.
#ifndef QK_PARTS_NEON_H
#define QK_PARTS_NEON_H

#include "parts.h"

#if QK_ARM

enum { QK_ROWS_N = 4, QK_PANEL_PARTS_N = 16, QK_TOKENS_N = 2 };

// The same part of 4 rows; what is not used is not filled.
typedef struct {
  int8x16_t q[QK_ROWS_N][2];
  int8x16_t low[QK_ROWS_N][2]; // of wide codes, which are 256 q + low + 128
  float32x4_t d, m;
  int32x4_t zero, s[2], o[2];
} qk_part_n;

// sum + 4 products of signed bytes in each lane.
QK_INLINE int32x4_t qk_dot_n(int is_dot, int32x4_t sum, int8x16_t a, int8x16_t b) {
  if (is_dot) {
    __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return sum;
  }
  // Two products are at most 2 * 128 * 127. Which lane a product is added to does not matter: all lanes of a row are
  // added in the end.
  const int16x8_t pairs =
      vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), vget_high_s8(a), vget_high_s8(b));
  return vpadalq_s16(sum, pairs);
}

QK_INLINE uint8x16_t qk_bits_n(uint8x16_t bytes, int shift, int count) {
  return vandq_u8(vshlq_u8(bytes, vdupq_n_s8((int8_t)-shift)), vdupq_n_u8((uint8_t)((1 << count) - 1)));
}

// Bit 16 i + k of the word as 16 in byte k.
QK_INLINE uint8x16_t qk_word_n(const uint8_t *word, int i) {
  static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t bytes = vcombine_u8(vdup_n_u8(word[2 * i]), vdup_n_u8(word[2 * i + 1]));
  return vandq_u8(vtstq_u8(bytes, vld1q_u8(bits)), vdupq_n_u8(16));
}

// The codes of a part (qk_code_at).
QK_INLINE void qk_codes_n(qk_traits traits, qk_place at, const uint8_t *row, int8x16_t q[2],
                          int8x16_t low[2]) {
  QK_UNROLL for (int i = 0; i < 2; i++) {
    const uint8_t *source = row + at.low + (at.is_split ? 0 : 16 * i);
    uint8x16_t code = qk_bits_n(vld1q_u8(source), at.is_split ? 4 * i : at.low_shift, at.low_bits);
    if (at.high_bits > 0) {
      const uint8x16_t high = qk_bits_n(vld1q_u8(row + at.high + 16 * i), at.high_shift, at.high_bits);
      code = vorrq_u8(code, vshlq_u8(high, vdupq_n_s8((int8_t)at.low_bits)));
    }
    if (at.has_word) {
      code = vorrq_u8(code, qk_word_n(row + at.word, i));
    }
    if (traits.wide) {
      int8_t upper[16], lower[16];
      for (int k = 0; k < 16; k++) {
        // From -32640 to 32767.
        const int32_t code = traits.wide[k] - 128;
        lower[k] = (int8_t)(code & 255);
        upper[k] = (int8_t)((code - lower[k]) / 256);
      }
      q[i] = vqtbl1q_s8(vld1q_s8(upper), code);
      low[i] = vqtbl1q_s8(vld1q_s8(lower), code);
    } else if (traits.table) {
      q[i] = vqtbl1q_s8(vld1q_s8(traits.table), code);
    } else if (traits.codes == QK_CODES_SIGNED) {
      q[i] = vreinterpretq_s8_u8(at.is_biased ? veorq_u8(code, vdupq_n_u8(128)) : code);
    } else {
      q[i] = vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8((int8_t)traits.offset));
    }
  }
}

QK_INLINE void qk_unpack_n(qk_traits traits, qk_place_of *place, qk_factors *factors,
                           const uint8_t *const row[QK_ROWS_N], size_t blocks, size_t block, int part,
                           qk_part_n *out) {
  const qk_place at = place(blocks, block, part);
  float d[QK_ROWS_N], m[QK_ROWS_N];
  int32_t zero[QK_ROWS_N], s[2][QK_ROWS_N], o[2][QK_ROWS_N];
  QK_UNROLL for (int r = 0; r < QK_ROWS_N; r++) {
    qk_part one = {.s = {1, 1}, .o = {1, 1}};
    factors(row[r], blocks, block, part, &one);
    d[r] = one.d, m[r] = one.m, zero[r] = one.zero;
    s[0][r] = one.s[0], s[1][r] = one.s[1], o[0][r] = one.o[0], o[1][r] = one.o[1];
    qk_codes_n(traits, at, row[r], out->q[r], out->low[r]);
  }
  out->d = vld1q_f32(d);
  if (traits.has_minimum) out->m = vld1q_f32(m);
  if (traits.has_zero) out->zero = vld1q_s32(zero);
  QK_UNROLL for (int i = 0; i < 2; i++) {
    if (traits.has_halves) out->s[i] = vld1q_s32(s[i]);
    if (traits.has_minimum_halves) out->o[i] = vld1q_s32(o[i]);
  }
}

// The products of 4 rows and one token, half a part or both halves.
QK_INLINE int32x4_t qk_products_n(int is_dot, const int8x16_t q[QK_ROWS_N][2], const int8x16_t x[2],
                                  int first, int last) {
  int32x4_t sums[QK_ROWS_N];
  QK_UNROLL for (int r = 0; r < QK_ROWS_N; r++) {
    sums[r] = vdupq_n_s32(0);
    QK_UNROLL for (int i = first; i <= last; i++) { sums[r] = qk_dot_n(is_dot, sums[r], q[r][i], x[i]); }
  }
  return vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]));
}

// Adds one part of 4 rows times one token to the totals.
QK_INLINE float32x4_t qk_add_part_n(qk_traits traits, int is_dot, const qk_part_n *p,
                                    const qk_a8_block *block, float32x4_t total) {
  const int8x16_t x[2] = {vld1q_s8(block->values), vld1q_s8(block->values + 16)};
  int32x4_t products;
  if (traits.has_halves) {
    products = vmulq_s32(qk_products_n(is_dot, p->q, x, 0, 0), p->s[0]);
    products = vmlaq_s32(products, qk_products_n(is_dot, p->q, x, 1, 1), p->s[1]);
  } else {
    products = qk_products_n(is_dot, p->q, x, 0, 1);
  }
  if (traits.wide) {
    products = vaddq_s32(vshlq_n_s32(products, 8), qk_products_n(is_dot, p->low, x, 0, 1));
    products = vaddq_s32(products, vdupq_n_s32(128 * block->sum));
  }
  if (traits.has_zero) {
    products = vmlsq_s32(products, p->zero, vdupq_n_s32(block->sum));
  }
  total = vfmaq_f32(total, vcvtq_f32_s32(products), vmulq_n_f32(p->d, block->scale));
  if (traits.has_minimum_halves) {
    const int32_t first = vaddlvq_s8(x[0]);
    const int32x4_t sum = vmlaq_n_s32(vmulq_n_s32(p->o[0], first), p->o[1], block->sum - first);
    total = vfmaq_f32(total, p->m, vmulq_n_f32(vcvtq_f32_s32(sum), block->scale));
  } else if (traits.has_minimum) {
    total = vfmaq_f32(total, p->m, vdupq_n_f32(block->scale * (float)block->sum));
  }
  return total;
}

QK_INLINE float32x4_t qk_load_n(const float *y, size_t count) {
  float four[QK_ROWS_N] = {0};
  memcpy(four, y, count * sizeof *y);
  return vld1q_f32(four);
}

QK_INLINE void qk_store_n(float *y, float32x4_t total, size_t count) {
  float four[QK_ROWS_N];
  vst1q_f32(four, total);
  memcpy(y, four, count * sizeof *y);
}

// All of a panel times a few tokens.
QK_INLINE void qk_panel_n(qk_traits traits, int is_dot, const int tokens, const qk_part_n *panel,
                          size_t parts, const qk_a8_block *x, size_t x_stride, float *y,
                          size_t y_stride, int is_first, size_t count) {
  float32x4_t totals[QK_TOKENS_N];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? vdupq_n_f32(0) : qk_load_n(y + (size_t)t * y_stride, count);
  }
  for (size_t p = 0; p < parts; p++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      totals[t] = qk_add_part_n(traits, is_dot, panel + p, x + (size_t)t * x_stride + p, totals[t]);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    qk_store_n(y + (size_t)t * y_stride, totals[t], count);
  }
}

// Up to 4 rows times any number of tokens.
QK_INLINE void qk_rows_n(qk_traits traits, int is_dot, qk_place_of *place, qk_factors *factors,
                         const uint8_t *const row[QK_ROWS_N], size_t count, size_t blocks,
                         const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                         size_t y_stride) {
  if (tokens == 1) {
    float32x4_t total = vdupq_n_f32(0);
    for (size_t b = 0; b < blocks; b++) {
      QK_UNROLL for (int p = 0; p < traits.parts; p++) {
        qk_part_n part;
        qk_unpack_n(traits, place, factors, row, blocks, b, p, &part);
        total = qk_add_part_n(traits, is_dot, &part, x++, total);
      }
    }
    qk_store_n(y, total, count);
    return;
  }
  const size_t parts = (size_t)traits.parts;
  const size_t step = QK_PANEL_PARTS_N / parts;
  qk_part_n panel[QK_PANEL_PARTS_N];
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    for (size_t b = 0; b < filled; b++) {
      QK_UNROLL for (int p = 0; p < traits.parts; p++) {
        qk_unpack_n(traits, place, factors, row, blocks, from + b, p, panel + b * parts + (size_t)p);
      }
    }
    size_t t = 0;
    for (; t + QK_TOKENS_N <= tokens; t += QK_TOKENS_N) {
      qk_panel_n(traits, is_dot, QK_TOKENS_N, panel, filled * parts, x + t * x_stride + from * parts,
                 x_stride, y + t * y_stride, y_stride, from == 0, count);
    }
    for (; t < tokens; t++) {
      qk_panel_n(traits, is_dot, 1, panel, filled * parts, x + t * x_stride + from * parts, x_stride,
                 y + t * y_stride, y_stride, from == 0, count);
    }
  }
}

QK_INLINE void qk_matmul_parts_n(qk_traits traits, int is_dot, qk_place_of *place, qk_factors *factors,
                                 const uint8_t *weights, size_t row_bytes, size_t rows, size_t columns,
                                 const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                                 size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r += QK_ROWS_N) {
    const size_t count = rows - r < QK_ROWS_N ? rows - r : QK_ROWS_N;
    const uint8_t *row[QK_ROWS_N];
    // Beyond count they repeat the last, whose results are not stored.
    for (size_t i = 0; i < QK_ROWS_N; i++) {
      row[i] = weights + (r + (i < count ? i : count - 1)) * row_bytes;
    }
    if (blocks > 0) {
      qk_rows_n(traits, is_dot, place, factors, row, count, blocks, x, x_stride, tokens, y + r, y_stride);
    } else {
      for (size_t t = 0; t < tokens; t++) memset(y + t * y_stride + r, 0, count * sizeof *y);
    }
  }
}

#define QK_PARTS_TWIN_N(name, is_dot)                                                               \
  void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,                     \
            const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {      \
    qk_matmul_parts_n(traits, is_dot, place, factors, weights, row_bytes, rows, columns, x, x_stride, \
                      tokens, y, y_stride);                                                         \
  }

#define QK_PARTS_TWINS(name)                                                                        \
  static QK_PARTS_TWIN_N(name##_neon, 0)                                                            \
  static QK_PARTS_TWIN_N(name##_neondot, 1)

#endif
#endif
