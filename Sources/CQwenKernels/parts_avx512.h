// Products of parts with AVX-512 VNNI: 16 rows in the lanes of one vector for several tokens, 8 for one.
// Integers are exact and floats are added as in the other twins.
#ifndef QK_PARTS_AVX512_H
#define QK_PARTS_AVX512_H

#include "parts_avx2.h"

#if QK_X86

enum { QK_PANEL_TOKENS5 = 4 };

// 16 rows; codes are unsigned.
typedef struct {
  __m512i q[8];
  __m512i low[8];
  __m512 d, m;
  __m512i zero;
  __m512i s[2], o[2];
} qk_part16;

typedef struct {
  qk_part16 parts[QK_PANEL_PARTS];
} qk_panel5;

QK_INLINE int qk_is_signed(qk_codes codes) {
  return codes == QK_CODES_SIGNED || codes == QK_CODES_WIDE;
}

// What is to be taken off unsigned codes.
QK_INLINE int32_t qk_offset_of(qk_traits traits) {
  return traits.codes == QK_CODES_SIGNED ? 128 : traits.codes == QK_CODES_WIDE ? 128 * 128
                                                                               : traits.offset;
}

QK_INLINE QK_AVX512 __m256i qk_as_unsigned(qk_codes codes, __m256i q) {
  return qk_is_signed(codes) ? _mm256_xor_si256(q, _mm256_set1_epi8(-128)) : q;
}

// Adds one part of 8 rows times one token to the totals.
QK_INLINE QK_AVX512 __m256 qk_add_part5(qk_traits traits, const qk_part8 *p, const qk_a8_block *x,
                                        __m256 total) {
  const int32_t offset = qk_offset_of(traits);
  qk_half_sums sums = {0, 0};
  if (traits.has_minimum_halves || (traits.has_halves && offset != 0)) {
    sums = qk_sums_of(x);
  }
  const int is_wide = traits.codes == QK_CODES_WIDE;
  const int32_t base = is_wide ? 0 : -offset;
  __m256i first = _mm256_set1_epi32(base * (traits.has_halves ? sums.first : x->sum));
  __m256i last = _mm256_set1_epi32(traits.has_halves ? base * sums.last : 0);
  __m256i fine = _mm256_set1_epi32(is_wide ? -offset * x->sum : 0);
  QK_UNROLL for (int g = 0; g < 4; g++) {
    first = _mm256_dpbusd_epi32(first, qk_as_unsigned(traits.codes, p->q[g]), qk_four(x, g));
    last = _mm256_dpbusd_epi32(last, qk_as_unsigned(traits.codes, p->q[g + 4]), qk_four(x, g + 4));
    if (is_wide) {
      fine = _mm256_dpbusd_epi32(fine, p->low[g], qk_four(x, g));
      fine = _mm256_dpbusd_epi32(fine, p->low[g + 4], qk_four(x, g + 4));
    }
  }
  if (traits.has_halves) {
    first = _mm256_mullo_epi32(first, p->s[0]);
    last = _mm256_mullo_epi32(last, p->s[1]);
  }
  __m256i products = _mm256_add_epi32(first, last);
  if (is_wide) {
    products = _mm256_add_epi32(_mm256_slli_epi32(products, 7), fine);
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

QK_INLINE QK_AVX512 void qk_one_token5(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
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
      total = qk_add_part5(traits, &part, x++, total);
    }
  }
  _mm256_mask_storeu_ps(y, (__mmask8)((1u << count) - 1), total);
}

QK_INLINE QK_AVX512 __m512i qk_four5(const qk_a8_block *x, int g) {
  int32_t four;
  memcpy(&four, x->values + 4 * g, sizeof four);
  return _mm512_set1_epi32(four);
}

QK_INLINE QK_AVX512 void qk_panel_tokens5(qk_traits traits, const int tokens, const qk_panel5 *panel,
                                          size_t parts, const qk_a8_block *x, size_t x_stride,
                                          float *y, size_t y_stride, int is_first, __mmask16 mask) {
  const int32_t offset = qk_offset_of(traits);
  const int is_wide = traits.codes == QK_CODES_WIDE;
  const int32_t base = is_wide ? 0 : -offset;
  __m512 totals[QK_PANEL_TOKENS5];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm512_setzero_ps()
                         : _mm512_maskz_loadu_ps(mask, y + (size_t)t * y_stride);
  }
  for (size_t i = 0; i < parts; i++, x++) {
    const qk_part16 *p = panel->parts + i;
    __m512i first[QK_PANEL_TOKENS5], last[QK_PANEL_TOKENS5], fine[QK_PANEL_TOKENS5];
    qk_half_sums sums[QK_PANEL_TOKENS5];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *block = x + (size_t)t * x_stride;
      if (traits.has_minimum_halves || (traits.has_halves && offset != 0)) {
        sums[t] = qk_sums_of(block);
      }
      first[t] = _mm512_set1_epi32(base * (traits.has_halves && offset != 0 ? sums[t].first : block->sum));
      last[t] = _mm512_set1_epi32(traits.has_halves && offset != 0 ? base * sums[t].last : 0);
      fine[t] = _mm512_set1_epi32(is_wide ? -offset * block->sum : 0);
    }
    QK_UNROLL for (int g = 0; g < 4; g++) {
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const qk_a8_block *block = x + (size_t)t * x_stride;
        first[t] = _mm512_dpbusd_epi32(first[t], p->q[g], qk_four5(block, g));
        if (traits.has_halves) {
          last[t] = _mm512_dpbusd_epi32(last[t], p->q[g + 4], qk_four5(block, g + 4));
        } else {
          first[t] = _mm512_dpbusd_epi32(first[t], p->q[g + 4], qk_four5(block, g + 4));
        }
        if (is_wide) {
          fine[t] = _mm512_dpbusd_epi32(fine[t], p->low[g], qk_four5(block, g));
          fine[t] = _mm512_dpbusd_epi32(fine[t], p->low[g + 4], qk_four5(block, g + 4));
        }
      }
    }
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *block = x + (size_t)t * x_stride;
      __m512i products = first[t];
      if (traits.has_halves) {
        products = _mm512_add_epi32(_mm512_mullo_epi32(first[t], p->s[0]),
                                    _mm512_mullo_epi32(last[t], p->s[1]));
      }
      if (is_wide) {
        products = _mm512_add_epi32(_mm512_slli_epi32(products, 7), fine[t]);
      }
      if (traits.has_zero) {
        const __m512i zeros = _mm512_mullo_epi32(p->zero, _mm512_set1_epi32(block->sum));
        products = _mm512_sub_epi32(products, zeros);
      }
      const __m512 scale = _mm512_set1_ps(block->scale);
      totals[t] =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_mul_ps(p->d, scale), totals[t]);
      if (traits.has_minimum_halves) {
        const __m512i sum =
            _mm512_add_epi32(_mm512_mullo_epi32(p->o[0], _mm512_set1_epi32(sums[t].first)),
                             _mm512_mullo_epi32(p->o[1], _mm512_set1_epi32(sums[t].last)));
        totals[t] =
            _mm512_fmadd_ps(p->m, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)), totals[t]);
      } else if (traits.has_minimum) {
        const __m512 sum = _mm512_set1_ps(block->scale * (float)block->sum);
        totals[t] = _mm512_fmadd_ps(p->m, sum, totals[t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// 8 of the 16 rows of a part.
QK_INLINE QK_AVX512 void qk_store_part5(qk_traits traits, const qk_part8 *from, qk_part16 *to,
                                        size_t half) {
  QK_UNROLL for (int g = 0; g < 8; g++) {
    _mm256_store_si256((__m256i *)&to->q[g] + half, qk_as_unsigned(traits.codes, from->q[g]));
    if (traits.codes == QK_CODES_WIDE) {
      _mm256_store_si256((__m256i *)&to->low[g] + half, from->low[g]);
    }
  }
  _mm256_store_ps((float *)&to->d + 8 * half, from->d);
  if (traits.has_minimum) {
    _mm256_store_ps((float *)&to->m + 8 * half, from->m);
  }
  if (traits.has_zero) {
    _mm256_store_si256((__m256i *)&to->zero + half, from->zero);
  }
  QK_UNROLL for (int i = 0; i < 2; i++) {
    if (traits.has_halves) {
      _mm256_store_si256((__m256i *)&to->s[i] + half, from->s[i]);
    }
    if (traits.has_minimum_halves) {
      _mm256_store_si256((__m256i *)&to->o[i] + half, from->o[i]);
    }
  }
}

// Up to 16 rows times several tokens.
QK_INLINE QK_AVX512 void qk_many_tokens5(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
                                         const uint8_t *start, size_t row_bytes, size_t count,
                                         size_t blocks, const qk_a8_block *x, size_t x_stride,
                                         size_t tokens, float *y, size_t y_stride) {
  const uint8_t *row[2][8];
  // Where there are no more than 8 rows the upper half repeats one; its results are not stored.
  const size_t below = count > 8 ? 8 : 0;
  qk_row_pointers(row[0], start, row_bytes, count);
  qk_row_pointers(row[1], start + below * row_bytes, row_bytes, count - below);
  const __mmask16 mask = (__mmask16)((1u << count) - 1);
  const size_t step = QK_PANEL_PARTS / (size_t)traits.parts;
  qk_panel5 panel;
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    for (size_t half = 0; half < 2; half++) {
      for (size_t b = 0; b < filled; b++) {
        qk_head8 head;
        head_of8(row[half], blocks, from + b, &head);
        QK_UNROLL for (int p = 0; p < traits.parts; p++) {
          qk_part8 part;
          unpack8(row[half], blocks, from + b, p, &head, &part);
          qk_store_part5(traits, &part, panel.parts + b * (size_t)traits.parts + p, half);
        }
      }
    }
    const size_t parts = filled * (size_t)traits.parts;
    const qk_a8_block *block = x + from * (size_t)traits.parts;
    size_t t = 0;
    for (; t + QK_PANEL_TOKENS5 <= tokens; t += QK_PANEL_TOKENS5) {
      qk_panel_tokens5(traits, QK_PANEL_TOKENS5, &panel, parts, block + t * x_stride, x_stride,
                       y + t * y_stride, y_stride, from == 0, mask);
    }
    for (; t < tokens; t++) {
      qk_panel_tokens5(traits, 1, &panel, parts, block + t * x_stride, x_stride, y + t * y_stride,
                       y_stride, from == 0, mask);
    }
  }
}

QK_INLINE QK_AVX512 void qk_matmul_parts5(qk_traits traits, qk_head_of8 *head_of8, qk_unpack8 *unpack8,
                                          const uint8_t *weights, size_t row_bytes, size_t rows,
                                          size_t columns, const qk_a8_block *x, size_t x_stride,
                                          size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  const size_t height = tokens == 1 ? 8 : 16;
  for (size_t r = 0; r < rows; r += height) {
    const size_t count = rows - r < height ? rows - r : height;
    const uint8_t *start = weights + r * row_bytes;
    if (blocks == 0) {
      for (size_t t = 0; t < tokens; t++) {
        _mm512_mask_storeu_ps(y + t * y_stride + r, (__mmask16)((1u << count) - 1),
                              _mm512_setzero_ps());
      }
    } else if (tokens == 1) {
      qk_one_token5(traits, head_of8, unpack8, start, row_bytes, count, blocks, x, y + r);
    } else {
      qk_many_tokens5(traits, head_of8, unpack8, start, row_bytes, count, blocks, x, x_stride, tokens,
                      y + r, y_stride);
    }
  }
}

#define QK_PARTS_TWINS(name, traits, head8, unpack8)                                                \
  static QK_AVX2 void name##_avx2(const void *weights, size_t row_bytes, size_t rows,               \
                                  size_t columns, const qk_a8_block *x, size_t x_stride,            \
                                  size_t tokens, float *y, size_t y_stride) {                       \
    qk_matmul_parts2(traits, head8, unpack8, weights, row_bytes, rows, columns, x, x_stride, tokens, \
                     y, y_stride);                                                                  \
  }                                                                                                 \
  static QK_AVX2 void name##_avxvnni(const void *weights, size_t row_bytes, size_t rows,            \
                                     size_t columns, const qk_a8_block *x, size_t x_stride,         \
                                     size_t tokens, float *y, size_t y_stride) {                    \
    qk_matmul_parts2(qk_with_vnni(traits), head8, unpack8, weights, row_bytes, rows, columns, x,    \
                     x_stride, tokens, y, y_stride);                                                \
  }                                                                                                 \
  static QK_AVX512 void name##_avx512(const void *weights, size_t row_bytes, size_t rows,           \
                                      size_t columns, const qk_a8_block *x, size_t x_stride,        \
                                      size_t tokens, float *y, size_t y_stride) {                   \
    qk_matmul_parts5(traits, head8, unpack8, weights, row_bytes, rows, columns, x, x_stride, tokens, \
                     y, y_stride);                                                                  \
  }

#endif
#endif
