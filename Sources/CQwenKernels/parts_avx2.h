// Products of parts with AVX2: 8 rows in the lanes of one vector.
//
// One token multiplies parts as they are unpacked. For several tokens the parts of 8 rows are first laid
// out in a panel of a few kilobytes, which all tokens then pass over.
#ifndef QK_PARTS_AVX2_H
#define QK_PARTS_AVX2_H

#include "parts8.h"

#if QK_X86

enum { QK_PANEL_PARTS = 16, QK_PANEL_TOKENS2 = 4 };

typedef struct {
  qk_part8 parts[QK_PANEL_PARTS];
} qk_panel2;

// The exact products of 16 codes (vectors first ... first + 3) of 8 rows and one token.
QK_INLINE QK_AVX2 __m256i qk_half_products2(qk_traits traits, const __m256i q[8], const __m256i low[8],
                                            const qk_a8_block *x, int first) {
  const qk_codes codes = traits.codes;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sum = _mm256_setzero_si256();
  if (traits.is_vnni) {
    const int is_signed = codes == QK_CODES_SIGNED || codes == QK_CODES_WIDE;
    __m256i fine = _mm256_setzero_si256();
    QK_UNROLL for (int g = first; g < first + 4; g++) {
      const __m256i four = qk_four(x, g);
      sum = is_signed ? qk_dot_vnni(sum, _mm256_abs_epi8(q[g]), _mm256_sign_epi8(four, q[g]))
                      : qk_dot_vnni(sum, q[g], four);
      fine = codes == QK_CODES_WIDE ? qk_dot_vnni(fine, low[g], four) : fine;
    }
    return codes == QK_CODES_WIDE ? _mm256_add_epi32(_mm256_slli_epi32(sum, 7), fine) : sum;
  }
  if (codes == QK_CODES_SIGNED || codes == QK_CODES_WIDE) {
    // |q| * sign(x, q): a pair is at most 2 * 128 * 127, which 16 bits hold.
    __m256i fine = _mm256_setzero_si256();
    QK_UNROLL for (int g = first; g < first + 4; g++) {
      const __m256i signed_x = _mm256_sign_epi8(qk_four(x, g), q[g]);
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q[g]), signed_x);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
      if (codes == QK_CODES_WIDE) {
        const __m256i lower = _mm256_maddubs_epi16(low[g], qk_four(x, g));
        fine = _mm256_add_epi32(fine, _mm256_madd_epi16(lower, ones));
      }
    }
    return codes == QK_CODES_WIDE ? _mm256_add_epi32(_mm256_slli_epi32(sum, 7), fine) : sum;
  }
  // Pairs of at most 2 * 127 codes: 4 of up to 31 stay within 16 bits (31496), 2 of up to 63 (32004).
  const int run = codes == QK_CODES_6 ? 2 : 4;
  QK_UNROLL for (int g = first; g < first + 4; g += run) {
    __m256i pairs = _mm256_maddubs_epi16(q[g], qk_four(x, g));
    QK_UNROLL for (int i = 1; i < run; i++) {
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(q[g + i], qk_four(x, g + i)));
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
  }
  return sum;
}

// Adds one part of 8 rows times one token to the totals.
QK_INLINE QK_AVX2 __m256 qk_add_part2(qk_traits traits, const qk_part8 *p, const qk_a8_block *x,
                                      __m256 total) {
  __m256i first = qk_half_products2(traits, p->q, p->low, x, 0);
  __m256i last = qk_half_products2(traits, p->q, p->low, x, 4);
  qk_half_sums sums = {0, 0};
  if (traits.has_minimum_halves || (traits.has_halves && traits.offset != 0)) {
    sums = qk_sums_of(x);
  }
  if (traits.has_halves) {
    if (traits.offset != 0) {
      first = _mm256_sub_epi32(first, _mm256_set1_epi32(traits.offset * sums.first));
      last = _mm256_sub_epi32(last, _mm256_set1_epi32(traits.offset * sums.last));
    }
    first = _mm256_mullo_epi32(first, p->s[0]);
    last = _mm256_mullo_epi32(last, p->s[1]);
  }
  __m256i products = _mm256_add_epi32(first, last);
  if (!traits.has_halves && traits.offset != 0) {
    products = _mm256_sub_epi32(products, _mm256_set1_epi32(traits.offset * x->sum));
  }
  if (traits.has_zero) {
    const __m256i zeros = _mm256_mullo_epi32(p->zero, _mm256_set1_epi32(x->sum));
    products = _mm256_sub_epi32(products, zeros);
  }
  const __m256 scale = _mm256_set1_ps(x->scale);
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_mul_ps(p->d, scale), total);
  if (traits.has_minimum_halves) {
    const __m256i sum =
        _mm256_add_epi32(_mm256_mullo_epi32(p->o[0], _mm256_set1_epi32(sums.first)),
                         _mm256_mullo_epi32(p->o[1], _mm256_set1_epi32(sums.last)));
    total = _mm256_fmadd_ps(p->m, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum)), total);
  } else if (traits.has_minimum) {
    total = _mm256_fmadd_ps(p->m, _mm256_set1_ps(x->scale * (float)x->sum), total);
  }
  return total;
}

// Up to 8 rows times one token.
QK_INLINE QK_AVX2 void qk_one_token2(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
                                     const uint8_t *start, size_t row_bytes, size_t count,
                                     size_t blocks, const qk_a8_block *x, float *y) {
  const uint8_t *row[8];
  qk_row_pointers(row, start, row_bytes, count);
  const uint8_t *ahead = start + qk_prefetch_distance(8 * row_bytes);
  __m256 total = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch(ahead + 8 * b * traits.bytes, 8 * traits.bytes);
    qk_head8 head;
    head_of8(row, blocks, b, &head);
    QK_UNROLL for (int p = 0; p < traits.parts; p++) {
      qk_part8 part;
      unpack8(row, blocks, b, p, &head, &part);
      total = qk_add_part2(traits, &part, x++, total);
    }
  }
  _mm256_maskstore_ps(y, qk_mask8(count), total);
}

// Adds the products of a panel and a few tokens to y, or stores them if it is the first panel.
QK_INLINE QK_AVX2 void qk_panel_tokens2(qk_traits traits, const int tokens, const qk_panel2 *panel,
                                        size_t parts, const qk_a8_block *x, size_t x_stride, float *y,
                                        size_t y_stride, int is_first, __m256i mask) {
  __m256 totals[QK_PANEL_TOKENS2];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm256_setzero_ps()
                         : _mm256_maskload_ps(y + (size_t)t * y_stride, mask);
  }
  for (size_t p = 0; p < parts; p++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      totals[t] = qk_add_part2(traits, panel->parts + p, x + (size_t)t * x_stride + p, totals[t]);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm256_maskstore_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// Up to 8 rows times several tokens.
QK_INLINE QK_AVX2 void qk_many_tokens2(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
                                       const uint8_t *start, size_t row_bytes, size_t count,
                                       size_t blocks, const qk_a8_block *x, size_t x_stride,
                                       size_t tokens, float *y, size_t y_stride) {
  const uint8_t *row[8];
  qk_row_pointers(row, start, row_bytes, count);
  const __m256i mask = qk_mask8(count);
  const size_t step = QK_PANEL_PARTS / (size_t)traits.parts;
  qk_panel2 panel;
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    for (size_t b = 0; b < filled; b++) {
      qk_head8 head;
      head_of8(row, blocks, from + b, &head);
      QK_UNROLL for (int p = 0; p < traits.parts; p++) {
        unpack8(row, blocks, from + b, p, &head, panel.parts + b * (size_t)traits.parts + p);
      }
    }
    const size_t parts = filled * (size_t)traits.parts;
    const qk_a8_block *block = x + from * (size_t)traits.parts;
    size_t t = 0;
    for (; t + QK_PANEL_TOKENS2 <= tokens; t += QK_PANEL_TOKENS2) {
      qk_panel_tokens2(traits, QK_PANEL_TOKENS2, &panel, parts, block + t * x_stride, x_stride,
                       y + t * y_stride, y_stride, from == 0, mask);
    }
    for (; t < tokens; t++) {
      qk_panel_tokens2(traits, 1, &panel, parts, block + t * x_stride, x_stride, y + t * y_stride,
                       y_stride, from == 0, mask);
    }
  }
}

QK_INLINE QK_AVX2 void qk_matmul_parts2(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
                                        const uint8_t *weights, size_t row_bytes, size_t rows,
                                        size_t columns, const qk_a8_block *x, size_t x_stride,
                                        size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r += 8) {
    const size_t count = rows - r < 8 ? rows - r : 8;
    const uint8_t *start = weights + r * row_bytes;
    if (blocks == 0) {
      for (size_t t = 0; t < tokens; t++) {
        _mm256_maskstore_ps(y + t * y_stride + r, qk_mask8(count), _mm256_setzero_ps());
      }
    } else if (tokens == 1) {
      qk_one_token2(traits, head_of8, unpack8, start, row_bytes, count, blocks, x, y + r);
    } else {
      qk_many_tokens2(traits, head_of8, unpack8, start, row_bytes, count, blocks, x, x_stride, tokens,
                      y + r, y_stride);
    }
  }
}

QK_INLINE qk_traits qk_with_vnni(qk_traits traits) {
  traits.is_vnni = 1;
  return traits;
}

#endif
#endif
