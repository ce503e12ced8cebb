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
  __m512i low[8]; // of wide codes: the lower bytes, above them q
  __m512 d, m;
  __m512i zero;
  __m512i s[2], o[2];
} qk_part16;

typedef struct {
  qk_part16 parts[QK_PANEL_PARTS];
} qk_panel5;

QK_INLINE QK_AVX512 __m256i qk_dot_avx512(__m256i sum, __m256i q, __m256i four) {
  return _mm256_dpbusd_epi32(sum, q, four);
}

QK_INLINE QK_AVX512 void qk_unpack5(qk_traits traits, qk_place_of *place, qk_factors_of8 *factors8,
                                    const qk_rows8 *rows, size_t blocks, size_t block, int part,
                                    const qk_head8 *head, qk_part8 *out) {
  factors8(head, part, out);
  qk_codes8(rows, place(blocks, block, part), out->q);
  qk_unsigned_entries8(traits, out);
}

QK_INLINE QK_AVX512 void qk_one_token5(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                       qk_factors_of8 *factors8, const uint8_t *start,
                                       size_t row_bytes, size_t count, size_t blocks,
                                       const qk_a8_block *x, float *y) {
  const qk_rows8 rows = qk_rows_from(start, row_bytes, count);
  const uint8_t *ahead = start + qk_prefetch_distance(8 * row_bytes);
  __m256 total = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch(ahead + 8 * b * traits.bytes, 8 * traits.bytes);
    qk_head8 head;
    head8(&rows, blocks, b, &head);
    QK_UNROLL for (int p = 0; p < traits.parts; p++) {
      qk_part8 part;
      qk_unpack5(traits, place, factors8, &rows, blocks, b, p, &head, &part);
      total = qk_dot_part8(traits, qk_dot_avx512, &part, x++, total);
    }
  }
  _mm256_mask_storeu_ps(y, (__mmask8)((1u << count) - 1), total);
}

QK_INLINE QK_AVX512 __m512i qk_four5(const qk_a8_block *x, int g) {
  int32_t four;
  memcpy(&four, x->values + 4 * g, sizeof four);
  return _mm512_set1_epi32(four);
}

// Adds the products of one part of 16 rows and one token, whose integers are in `first`, `last` and `fine`.
QK_INLINE QK_AVX512 __m512 qk_scale_part16(qk_traits traits, const qk_part16 *p, const qk_a8_block *x,
                                           __m512i first, __m512i last, __m512i fine,
                                           __m512 total) {
  if (traits.has_halves) {
    first = _mm512_mullo_epi32(first, p->s[0]);
    last = _mm512_mullo_epi32(last, p->s[1]);
  }
  __m512i products = _mm512_add_epi32(first, last);
  if (traits.codes == QK_CODES_WIDE) {
    products = _mm512_add_epi32(_mm512_slli_epi32(products, 8), fine);
  }
  if (traits.has_zero) {
    const __m512i zeros = _mm512_mullo_epi32(p->zero, _mm512_set1_epi32(x->sum));
    products = _mm512_sub_epi32(products, zeros);
  }
  const __m512 scale = _mm512_set1_ps(x->scale);
  total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), _mm512_mul_ps(p->d, scale), total);
  if (traits.has_minimum_halves) {
    const __m512i sum =
        _mm512_add_epi32(_mm512_mullo_epi32(p->o[0], _mm512_set1_epi32(x->halves[0])),
                         _mm512_mullo_epi32(p->o[1], _mm512_set1_epi32(x->halves[1])));
    total = _mm512_fmadd_ps(p->m, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum)), total);
  } else if (traits.has_minimum) {
    total = _mm512_fmadd_ps(p->m, _mm512_set1_ps(x->scaled_sum), total);
  }
  return total;
}

// One part of 16 rows times up to QK_PANEL_TOKENS5 tokens: each vector of codes serves all of them.
QK_INLINE QK_AVX512 void qk_add_part16(qk_traits traits, const int tokens, const qk_part16 *p,
                                       const qk_a8_block *x, size_t x_stride,
                                       __m512 totals[QK_PANEL_TOKENS5]) {
  const int32_t offset = qk_offset_of(traits);
  const int is_wide = traits.codes == QK_CODES_WIDE;
  const int32_t base = is_wide ? 0 : -offset;
  __m512i first[QK_PANEL_TOKENS5], last[QK_PANEL_TOKENS5], fine[QK_PANEL_TOKENS5];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    const qk_a8_block *block = x + (size_t)t * x_stride;
    first[t] = _mm512_set1_epi32(base * (traits.has_halves ? block->halves[0] : block->sum));
    last[t] = _mm512_set1_epi32(traits.has_halves ? base * block->halves[1] : 0);
    fine[t] = _mm512_set1_epi32(is_wide ? -offset * block->sum : 0);
  }
  // With several tokens there are sums enough in flight; with one, halves are added apart.
  const int is_apart = traits.has_halves || tokens == 1;
  QK_UNROLL for (int g = 0; g < 8; g++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m512i four = qk_four5(x + (size_t)t * x_stride, g);
      if (is_apart && g >= 4) {
        last[t] = _mm512_dpbusd_epi32(last[t], p->q[g], four);
      } else {
        first[t] = _mm512_dpbusd_epi32(first[t], p->q[g], four);
      }
      if (is_wide) {
        fine[t] = _mm512_dpbusd_epi32(fine[t], p->low[g], four);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = qk_scale_part16(traits, p, x + (size_t)t * x_stride, first[t], last[t], fine[t],
                                totals[t]);
  }
}

QK_INLINE QK_AVX512 void qk_panel_tokens5(qk_traits traits, const int tokens, const qk_panel5 *panel,
                                          size_t parts, const qk_a8_block *x, size_t x_stride,
                                          float *y, size_t y_stride, int is_first, __mmask16 mask) {
  __m512 totals[QK_PANEL_TOKENS5];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm512_setzero_ps()
                         : _mm512_maskz_loadu_ps(mask, y + (size_t)t * y_stride);
  }
  for (size_t i = 0; i < parts; i++, x++) {
    qk_add_part16(traits, tokens, panel->parts + i, x, x_stride, totals);
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// 8 of the 16 rows of a part.
QK_INLINE QK_AVX512 void qk_store_part5(qk_traits traits, const qk_part8 *from, qk_part16 *to,
                                        size_t half) {
  QK_UNROLL for (int g = 0; g < 8; g++) {
    _mm256_store_si256((__m256i *)&to->q[g] + half, from->q[g]);
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

// All tokens over a panel of blocks from `from` on.
QK_INLINE QK_AVX512 void qk_pass5(qk_traits traits, const qk_panel5 *panel, size_t from,
                                  size_t filled, const qk_a8_block *x, size_t x_stride,
                                  size_t tokens, float *y, size_t y_stride, __mmask16 mask) {
  const size_t parts = filled * (size_t)traits.parts;
  const qk_a8_block *block = x + from * (size_t)traits.parts;
  size_t t = 0;
  for (; t + QK_PANEL_TOKENS5 <= tokens; t += QK_PANEL_TOKENS5) {
    qk_panel_tokens5(traits, QK_PANEL_TOKENS5, panel, parts, block + t * x_stride, x_stride,
                     y + t * y_stride, y_stride, from == 0, mask);
  }
  for (; t < tokens; t++) {
    qk_panel_tokens5(traits, 1, panel, parts, block + t * x_stride, x_stride, y + t * y_stride,
                     y_stride, from == 0, mask);
  }
}

// Up to 16 rows times several tokens.
QK_INLINE QK_AVX512 void qk_many_tokens5(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                         qk_factors_of8 *factors8, const uint8_t *start,
                                         size_t row_bytes, size_t count, size_t blocks,
                                         const qk_a8_block *x, size_t x_stride, size_t tokens,
                                         float *y, size_t y_stride) {
  // Where there are no more than 8 rows the upper half repeats one; its results are not stored.
  const size_t below = count > 8 ? 8 : 0;
  const qk_rows8 rows[2] = {qk_rows_from(start, row_bytes, count),
                            qk_rows_from(start + below * row_bytes, row_bytes, count - below)};
  const __mmask16 mask = (__mmask16)((1u << count) - 1);
  const size_t step = QK_PANEL_PARTS / (size_t)traits.parts;
  qk_panel5 panel;
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    for (size_t half = 0; half < 2; half++) {
      for (size_t b = 0; b < filled; b++) {
        qk_head8 head;
        head8(rows + half, blocks, from + b, &head);
        QK_UNROLL for (int p = 0; p < traits.parts; p++) {
          qk_part8 part;
          qk_unpack5(traits, place, factors8, rows + half, blocks, from + b, p, &head, &part);
          qk_store_part5(traits, &part, panel.parts + b * (size_t)traits.parts + p, half);
        }
      }
    }
    qk_pass5(traits, &panel, from, filled, x, x_stride, tokens, y, y_stride, mask);
  }
}

QK_INLINE QK_AVX512 void qk_matmul_parts5(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                          qk_factors_of8 *factors8, const uint8_t *weights,
                                          size_t row_bytes, size_t rows, size_t columns,
                                          const qk_a8_block *x, size_t x_stride, size_t tokens,
                                          float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  if (blocks == 0) {
    qk_no_columns(rows, tokens, y, y_stride);
    return;
  }
  const size_t height = tokens == 1 ? 8 : 16;
  for (size_t r = 0; r < rows; r += height) {
    const size_t count = rows - r < height ? rows - r : height;
    const uint8_t *start = weights + r * row_bytes;
    if (tokens == 1) {
      qk_one_token5(traits, place, head8, factors8, start, row_bytes, count, blocks, x, y + r);
    } else {
      qk_many_tokens5(traits, place, head8, factors8, start, row_bytes, count, blocks, x, x_stride,
                      tokens, y + r, y_stride);
    }
  }
}

#define QK_PARTS_TWIN(name, set, mark, body, traits, place)                                         \
  static mark void name##_##set(const void *weights, size_t row_bytes, size_t rows, size_t columns, \
                                const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,     \
                                size_t y_stride) {                                                  \
    body(traits, place, head8, factors8, weights, row_bytes, rows, columns, x, x_stride, tokens, y, \
         y_stride);                                                                                 \
  }

#define QK_PARTS_TWINS(name)                                                                        \
  QK_PARTS_TWIN(name, avx2, QK_AVX2, qk_matmul_parts2, traits, place)                               \
  QK_PARTS_TWIN(name, avxvnni, QK_AVX2, qk_matmul_parts2, qk_with_vnni(traits), place)              \
  QK_PARTS_TWIN(name, avx512, QK_AVX512, qk_matmul_parts5, traits, place)

#endif
#endif
