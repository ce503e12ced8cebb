// Panels of parts with NEON: 16 rows and a few kilobytes, unpacked once, which all tokens pass over.
#ifndef QK_PARTS_PANEL_NEON_H
#define QK_PARTS_PANEL_NEON_H

#include "parts_neon.h"

#if QK_ARM

enum { QK_QUARTERS_N = QK_PANEL_ROWS_N / QK_ROWS_N };

typedef struct {
  qk_part4 parts[QK_QUARTERS_N][QK_PANEL_PARTS_N];
  int8x16_t low[QK_QUARTERS_N][QK_PANEL_PARTS_N][8]; // of wide codes
} qk_panel_n;

// The form in which a set multiplies panels.
QK_INLINE qk_form qk_form_of(const int set) {
  return set == QK_ISA_NEON_I8MM ? QK_FORM_PAIRS : set == QK_ISA_NEON_DOT ? QK_FORM_WORDS : QK_FORM_ROWS;
}

// Word c of vector r and word r of vector c change places.
QK_INLINE void qk_turn_n(int32x4_t v[4]) {
  const int32x4_t a = vzip1q_s32(v[0], v[2]), b = vzip2q_s32(v[0], v[2]);
  const int32x4_t c = vzip1q_s32(v[1], v[3]), d = vzip2q_s32(v[1], v[3]);
  v[0] = vzip1q_s32(a, c), v[1] = vzip2q_s32(a, c), v[2] = vzip1q_s32(b, d), v[3] = vzip2q_s32(b, d);
}

// Codes as they were unpacked to another form.
QK_INLINE void qk_reform_n(const int is_group, const qk_form form, int8x16_t q[8]) {
  if (form == (is_group ? QK_FORM_WORDS : QK_FORM_ROWS)) return;
  int8x16_t from[8];
  memcpy(from, q, sizeof from);
  if (form != QK_FORM_PAIRS) {
    QK_UNROLL for (int h = 0; h < 2; h++) {
      int32x4_t four[4];
      QK_UNROLL for (int r = 0; r < 4; r++) { four[r] = vreinterpretq_s32_s8(from[is_group ? 4 * h + r : 2 * r + h]); }
      qk_turn_n(four);
      QK_UNROLL for (int r = 0; r < 4; r++) { q[is_group ? 2 * r + h : 4 * h + r] = vreinterpretq_s8_s32(four[r]); }
    }
  } else if (is_group) {
    QK_UNROLL for (int i = 0; i < 8; i += 2) {
      const int32x4_t a = vreinterpretq_s32_s8(from[i]), b = vreinterpretq_s32_s8(from[i + 1]);
      q[i] = vreinterpretq_s8_s32(vzip1q_s32(a, b)), q[i + 1] = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
  } else {
    QK_UNROLL for (int i = 0; i < 4; i++) {
      const int h = i / 2, j = i % 2;
      const int8x16_t a = from[4 * j + h], b = from[4 * j + 2 + h];
      q[4 * h + j] = qk_first_eights(a, b), q[4 * h + 2 + j] = qk_last_eights(a, b);
    }
  }
}

QK_INLINE void qk_pair_floats(float32x4_t v[2]) {
  const float32x4_t all = v[0];
  v[0] = vzip1q_f32(all, all), v[1] = vzip2q_f32(all, all);
}

QK_INLINE void qk_pair_integers(int32x4_t v[2]) {
  const int32x4_t all = v[0];
  v[0] = vzip1q_s32(all, all), v[1] = vzip2q_s32(all, all);
}

QK_INLINE void qk_pair_factors(qk_traits traits, qk_part4 *p) {
  qk_pair_floats(p->d);
  if (traits.has_minimum) qk_pair_floats(p->m);
  if (traits.has_zero) qk_pair_integers(p->zero);
  QK_UNROLL for (int h = 0; h < 2; h++) {
    if (traits.has_halves) qk_pair_integers(p->s[h]);
    if (traits.has_minimum_halves) qk_pair_integers(p->o[h]);
  }
}

// Blocks from ... to of 4 rows.
QK_INLINE void qk_fill_n(qk_traits traits, const int set, QK_FORMAT_N, const qk_rows4 *rows, size_t blocks,
                         size_t from, size_t to, qk_part4 *parts, int8x16_t (*low)[8]) {
  const qk_form form = qk_form_of(set);
  for (size_t b = from; b < to; b++) {
    qk_head4 head;
    head_of(rows, blocks, b, &head);
    QK_UNROLL for (int p = 0; p < traits.parts; p++, parts++, low++) {
      qk_unpack_n(traits, 0, place_of, factors_of, rows, &head, blocks, b, p, parts, *low);
      qk_reform_n(rows->is_group, form, parts->q);
      if (traits.wide) qk_reform_n(rows->is_group, form, *low);
      if (form == QK_FORM_PAIRS) qk_pair_factors(traits, parts);
    }
  }
}

// A quarter of a panel times a few tokens, one of which meets 4 rows at a time.
QK_INLINE void qk_pass_n(qk_traits traits, const int set, const int tokens, const qk_part4 *parts,
                         const int8x16_t (*low)[8], size_t count, const qk_a8_block *x, size_t x_stride,
                         float *y, size_t y_stride, int is_first, size_t rows) {
  float32x4_t totals[QK_TOKENS_N];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? vdupq_n_f32(0) : qk_load_n(y + (size_t)t * y_stride, rows);
  }
  for (size_t p = 0; p < count; p++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_x_n one = qk_one_token_n(traits, x + (size_t)t * x_stride + p);
      totals[t] = qk_add_part_n(traits, set, qk_form_of(set), 0, parts + p, low[p], 0, &one, totals[t]);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) { qk_store_n(y + (size_t)t * y_stride, totals[t], rows); }
}

// Activations of QK_TOKENS_N tokens, or fewer, as pairs: beyond the last it is repeated.
typedef qk_x_n qk_pairs_x[QK_PANEL_PARTS_N][QK_TOKENS_N / 2];

QK_INLINE void qk_pair_tokens_n(qk_traits traits, size_t tokens, size_t count, const qk_a8_block *x,
                                size_t x_stride, qk_pairs_x out) {
  QK_UNROLL for (size_t i = 0; i < QK_TOKENS_N / 2; i++) {
    const qk_a8_block *a = x + (2 * i < tokens ? 2 * i : tokens - 1) * x_stride;
    const qk_a8_block *b = x + (2 * i + 1 < tokens ? 2 * i + 1 : tokens - 1) * x_stride;
    for (size_t p = 0; p < count; p++) out[p][i] = qk_two_tokens_n(traits, a + p, b + p);
  }
}

// A quarter of a panel times up to QK_TOKENS_N tokens, two of which meet 2 rows at a time.
QK_INLINE void qk_pass_pairs_n(qk_traits traits, size_t tokens, const qk_part4 *parts,
                               const int8x16_t (*low)[8], size_t count, const qk_pairs_x x, float *y,
                               size_t y_stride, int is_first, size_t rows) {
  float32x4_t totals[QK_TOKENS_N]; // 2i: rows 0 and 1 of tokens 2i and 2i + 1; 2i + 1: rows 2 and 3
  QK_UNROLL for (size_t i = 0; i < QK_TOKENS_N; i += 2) {
    totals[i] = totals[i + 1] = vdupq_n_f32(0);
    if (!is_first) {
      const float32x4_t a = qk_load_n(y + (i < tokens ? i : 0) * y_stride, rows);
      const float32x4_t b = qk_load_n(y + (i + 1 < tokens ? i + 1 : 0) * y_stride, rows);
      totals[i] = vzip1q_f32(a, b), totals[i + 1] = vzip2q_f32(a, b);
    }
  }
  for (size_t p = 0; p < count; p++) {
    QK_UNROLL for (int i = 0; i < QK_TOKENS_N; i++) {
      totals[i] = qk_add_part_n(traits, QK_ISA_NEON_I8MM, QK_FORM_PAIRS, 0, parts + p, low[p], i % 2, &x[p][i / 2],
                                totals[i]);
    }
  }
  QK_UNROLL for (size_t i = 0; i < QK_TOKENS_N; i += 2) {
    if (i < tokens) qk_store_n(y + i * y_stride, vuzp1q_f32(totals[i], totals[i + 1]), rows);
    if (i + 1 < tokens) qk_store_n(y + (i + 1) * y_stride, vuzp2q_f32(totals[i], totals[i + 1]), rows);
  }
}

// All tokens over a panel of `count` parts.
QK_INLINE void qk_over_panel_n(qk_traits traits, const int set, const qk_panel_n *panel, size_t count,
                               const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride,
                               int is_first, size_t rows) {
  // Wide codes and the steps that NEON takes for a product leave registers for two tokens.
  const int width = traits.wide && set == QK_ISA_NEON ? 2 : QK_TOKENS_N;
  for (size_t t = 0; t < tokens; t += (size_t)width) {
    const size_t left = tokens - t;
    float *out = y + t * y_stride;
    const qk_a8_block *in = x + t * x_stride;
    qk_pairs_x pairs;
    if (set == QK_ISA_NEON_I8MM) {
      qk_pair_tokens_n(traits, left < QK_TOKENS_N ? left : QK_TOKENS_N, count, in, x_stride, pairs);
    }
    for (size_t q = 0; q < QK_QUARTERS_N && QK_ROWS_N * q < rows; q++) {
      const qk_part4 *parts = panel->parts[q];
      float *to = out + QK_ROWS_N * q;
      const size_t some = rows - QK_ROWS_N * q;
      if (set == QK_ISA_NEON_I8MM) {
        qk_pass_pairs_n(traits, left, parts, panel->low[q], count, pairs, to, y_stride, is_first, some);
      } else if (left >= (size_t)width) {
        qk_pass_n(traits, set, width, parts, panel->low[q], count, in, x_stride, to, y_stride, is_first, some);
      } else {
        for (size_t i = 0; i < left; i++) {
          qk_pass_n(traits, set, 1, parts, panel->low[q], count, in + i * x_stride, x_stride, to + i * y_stride,
                    y_stride, is_first, some);
        }
      }
    }
  }
}

QK_INLINE void qk_many_n(qk_traits traits, const int set, const int is_group, QK_FORMAT_N,
                         const uint8_t *weights, size_t row_bytes, size_t rows, size_t blocks,
                         const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const size_t parts = (size_t)traits.parts, step = QK_PANEL_PARTS_N / parts;
  qk_panel_n panel;
  for (size_t r = 0; r < rows; r += QK_PANEL_ROWS_N) {
    for (size_t from = 0; from < blocks; from += step) {
      const size_t to = blocks - from < step ? blocks : from + step;
      for (size_t q = 0; q < QK_QUARTERS_N && r + QK_ROWS_N * q < rows; q++) {
        if (is_group) {
          const qk_rows4 four = {.is_group = 1, .group = weights + r * row_bytes, .quarter = q};
          qk_fill_n(traits, set, QK_OF_FORMAT, &four, blocks, from, to, panel.parts[q], panel.low[q]);
        } else {
          const qk_rows4 four = qk_rows_at(weights, row_bytes, r + QK_ROWS_N * q, rows);
          qk_fill_n(traits, set, QK_OF_FORMAT, &four, blocks, from, to, panel.parts[q], panel.low[q]);
        }
      }
      qk_over_panel_n(traits, set, &panel, (to - from) * parts, x + from * parts, x_stride, tokens, y + r,
                      y_stride, from == 0, rows - r);
    }
  }
}

#endif
#endif
