// Products of interleaved parts with AVX-512 VNNI: 16 rows in the lanes of one vector, used as they are loaded for up to
// QK_PANEL_TOKENS5 tokens. Factors are made for 8 rows at a time, as the other twins do, and joined.
#ifndef QK_PARTS_GROUPS_AVX512_H
#define QK_PARTS_GROUPS_AVX512_H

#include "parts_avx512.h"

#if QK_X86

QK_INLINE QK_AVX512 __m512i qk_words16(const uint8_t *group, size_t offset) {
  return _mm512_loadu_si512(group + 16 * offset);
}

QK_INLINE QK_AVX512 __m512i qk_join16(__m256i first, __m256i last) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), last, 1);
}

QK_INLINE QK_AVX512 __m512 qk_join_floats16(__m256 first, __m256 last) {
  return _mm512_castsi512_ps(qk_join16(_mm256_castps_si256(first), _mm256_castps_si256(last)));
}

// As qk_moved8.
QK_INLINE QK_AVX512 __m512i qk_moved16(__m512i words, int shift, int mask) {
  if (shift > 0) {
    words = _mm512_slli_epi16(words, (unsigned)shift);
  } else if (shift < 0) {
    words = _mm512_srli_epi16(words, (unsigned)-shift);
  }
  return mask == 255 ? words : _mm512_and_si512(words, _mm512_set1_epi8((char)mask));
}

// Adds 16 to byte j where bit 4g + j of each row's word is set.
QK_INLINE QK_AVX512 __m512i qk_add_bits16(__m512i code, __m512i words, int g) {
  const int line = g / 2 * 0x01010101;
  const __m512i from = _mm512_add_epi32(
      _mm512_set1_epi32(line),
      _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c)));
  const __m512i bits = _mm512_set1_epi32(g % 2 == 0 ? 0x08040201 : (int)0x80402010);
  const __mmask64 is_set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(words, from), bits);
  return _mm512_mask_add_epi8(code, is_set, code, _mm512_set1_epi8(16));
}

// As qk_shared_code8.
QK_INLINE QK_AVX512 __m512i qk_shared_code16(const uint8_t *group, qk_place at, int g) {
  const size_t from = at.low + (size_t)(g / 4 * 12);
  if (g % 4 < 3) {
    return qk_moved16(qk_words16(group, from + (size_t)(g % 4 * 4)), 0, 63);
  }
  const __m512i code = qk_moved16(qk_words16(group, from), -6, 3);
  return _mm512_or_si512(_mm512_or_si512(code, qk_moved16(qk_words16(group, from + 4), -4, 12)),
                         qk_moved16(qk_words16(group, from + 8), -2, 48));
}

// As qk_code8.
QK_INLINE QK_AVX512 __m512i qk_code16(const uint8_t *group, qk_place at, int g) {
  if (at.is_shared) {
    return qk_shared_code16(group, at, g);
  }
  const size_t word = 4 * (size_t)(at.is_split ? g % 4 : g);
  const int shift = at.is_split ? g / 4 * 4 : at.low_shift;
  __m512i code = qk_moved16(qk_words16(group, at.low + word), -shift, (1 << at.low_bits) - 1);
  if (at.high_bits > 0) {
    const int mask = ((1 << at.high_bits) - 1) << at.low_bits;
    const __m512i high = qk_words16(group, at.high + word);
    code = _mm512_or_si512(code, qk_moved16(high, at.low_bits - at.high_shift, mask));
  }
  if (at.has_word) {
    code = qk_add_bits16(code, qk_words16(group, at.word), g);
  }
  return code;
}

// A table of bytes in all places of a vector.
QK_INLINE QK_AVX512 __m512i qk_four_times(__m128i bytes) { return _mm512_broadcast_i32x4(bytes); }

QK_INLINE QK_AVX512 void qk_unpack16(qk_traits traits, qk_place_of *place, qk_factors_of8 *factors8,
                                     const uint8_t *group, size_t blocks, size_t block, int part,
                                     const qk_head8 head[2], qk_part16 *out) {
  qk_part8 half[2];
  QK_UNROLL for (int h = 0; h < 2; h++) { factors8(head + h, part, half + h); }
  out->d = qk_join_floats16(half[0].d, half[1].d);
  if (traits.has_minimum) {
    out->m = qk_join_floats16(half[0].m, half[1].m);
  }
  if (traits.has_zero) {
    out->zero = qk_join16(half[0].zero, half[1].zero);
  }
  QK_UNROLL for (int i = 0; i < 2; i++) {
    if (traits.has_halves) {
      out->s[i] = qk_join16(half[0].s[i], half[1].s[i]);
    }
    if (traits.has_minimum_halves) {
      out->o[i] = qk_join16(half[0].o[i], half[1].o[i]);
    }
  }
  const qk_place at = place(blocks, block, part);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m512i code = qk_code16(group, at, g);
    out->q[g] = code;
    if (traits.codes == QK_CODES_WIDE) {
      out->low[g] = _mm512_shuffle_epi8(qk_four_times(qk_bytes_of(traits.wide, 0)), code);
    }
    if (traits.table || traits.wide) {
      out->q[g] = _mm512_shuffle_epi8(qk_four_times(qk_unsigned_table(traits)), code);
    } else if (traits.codes == QK_CODES_SIGNED && !at.is_biased) {
      out->q[g] = _mm512_xor_si512(code, _mm512_set1_epi8(-128));
    }
  }
}

// A group of 16 rows times up to QK_PANEL_TOKENS5 tokens.
QK_INLINE QK_AVX512 void qk_group_tokens5(qk_traits traits, const int tokens, qk_place_of *place,
                                          qk_head_of8 *head8, qk_factors_of8 *factors8,
                                          const uint8_t *group, size_t blocks, const qk_a8_block *x,
                                          size_t x_stride, float *y, size_t y_stride,
                                          __mmask16 mask) {
  const qk_rows8 rows[2] = {qk_half_group(group, 0), qk_half_group(group, 1)};
  const size_t share = 16 * traits.bytes / (size_t)traits.parts;
  // Several tokens see fewer bytes by themselves.
  const uint8_t *ahead = group + (tokens > 1 ? QK_PARTS_AHEAD / 3 * 4 : QK_PARTS_AHEAD);
  __m512 totals[QK_PANEL_TOKENS5];
  QK_UNROLL for (int t = 0; t < tokens; t++) { totals[t] = _mm512_setzero_ps(); }
  for (size_t b = 0; b < blocks; b++) {
    qk_head8 head[2];
    QK_UNROLL for (int h = 0; h < 2; h++) { head8(rows + h, blocks, b, head + h); }
    QK_UNROLL for (int p = 0; p < traits.parts; p++, ahead += share, x++) {
      if (tokens > 1) {
        const size_t from = (size_t)p * share;
        qk_prefetch_lines(ahead - from, from, from + share);
      } else {
        qk_prefetch_parts(ahead, share);
      }
      qk_part16 part;
      qk_unpack16(traits, place, factors8, group, blocks, b, p, head, &part);
      qk_add_part16(traits, tokens, &part, x, x_stride, totals);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

QK_INLINE QK_AVX512 void qk_group_panels5(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                          qk_factors_of8 *factors8, const uint8_t *group,
                                          size_t blocks, const qk_a8_block *x, size_t x_stride,
                                          size_t tokens, float *y, size_t y_stride,
                                          __mmask16 mask) {
  const qk_rows8 rows[2] = {qk_half_group(group, 0), qk_half_group(group, 1)};
  const size_t step = QK_PANEL_PARTS / (size_t)traits.parts;
  qk_panel5 panel;
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    for (size_t b = 0; b < filled; b++) {
      qk_head8 head[2];
      // The next panel: nothing else asks for it while this one is multiplied.
      const size_t bytes = 16 * traits.bytes;
      qk_prefetch_parts(group + (from + b + step) * bytes, bytes);
      QK_UNROLL for (int h = 0; h < 2; h++) { head8(rows + h, blocks, from + b, head + h); }
      QK_UNROLL for (int p = 0; p < traits.parts; p++) {
        qk_unpack16(traits, place, factors8, group, blocks, from + b, p, head,
                    panel.parts + b * (size_t)traits.parts + p);
      }
    }
    qk_pass5(traits, &panel, from, filled, x, x_stride, tokens, y, y_stride, mask);
  }
}

QK_INLINE QK_AVX512 void qk_matmul_groups5(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                           qk_factors_of8 *factors8, const uint8_t *weights,
                                           size_t row_bytes, size_t rows, size_t columns,
                                           const qk_a8_block *x, size_t x_stride, size_t tokens,
                                           float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  if (blocks == 0) {
    qk_no_columns(rows, tokens, y, y_stride);
    return;
  }
  for (size_t r = 0; r < rows; r += 16) {
    const size_t count = rows - r < 16 ? rows - r : 16;
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    const uint8_t *group = weights + r * row_bytes;
#define QK_FEW(n)                                                                                   \
  case n:                                                                                           \
    qk_group_tokens5(traits, n, place, head8, factors8, group, blocks, block, x_stride, to,         \
                     y_stride, mask);                                                               \
    break;
    if (tokens > 4 * QK_PANEL_TOKENS5) {
      qk_group_panels5(traits, place, head8, factors8, group, blocks, x, x_stride, tokens, y + r,
                       y_stride, mask);
      continue;
    }
    // A few tiles, as even as can be, cost less than a panel.
    for (size_t t = 0, step; t < tokens; t += step) {
      const size_t tiles = (tokens - t + QK_PANEL_TOKENS5 - 1) / QK_PANEL_TOKENS5;
      step = (tokens - t + tiles - 1) / tiles;
      const qk_a8_block *block = x + t * x_stride;
      float *to = y + t * y_stride + r;
      switch (step) {
        QK_FEW(1)
        QK_FEW(2)
        QK_FEW(3)
        QK_FEW(4)
      }
    }
#undef QK_FEW
  }
}

#define QK_GROUPS_TWINS_OF_AVX2(name, place)                                                        \
  QK_GROUPS_TWIN2(name##_avx2, traits, place)                                                       \
  QK_GROUPS_TWIN2(name##_avxvnni, qk_with_vnni(traits), place)
// A format whose product with AVX-512 is elsewhere defines QK_HAS_GROUPS_AVX512 first.
#ifdef QK_HAS_GROUPS_AVX512
#define QK_GROUPS_TWINS(name, place) QK_GROUPS_TWINS_OF_AVX2(name, place)
#else
#define QK_GROUPS_TWINS(name, place)                                                                \
  QK_GROUPS_TWINS_OF_AVX2(name, place)                                                              \
  QK_PARTS_TWIN(name, avx512, QK_AVX512, qk_matmul_groups5, traits, place)
#endif

#endif
#endif
