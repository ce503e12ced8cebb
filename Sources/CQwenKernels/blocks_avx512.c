// Products of blocked formats and 8-bit activations with AVX-512 VNNI: 16 rows in the lanes of one
// vector for several tokens, 8 for one. Integers are exact and floats are added as in the other
// twins.
#include "interleaved.h"
#include "panel.h"
#include "twins.h"

#if QK_X86

enum {
  TOKENS = 8, // 8 integer sums, 8 totals and the vector of q: the chains hide the latency
  PANEL_BLOCKS = 16,
  FEW = 4, // tokens for which interleaved weights need no panel
};

typedef struct {
  __m512i q[PANEL_BLOCKS][8];
  __m512 d[PANEL_BLOCKS];
  __m512 m[PANEL_BLOCKS];
} panel;

// What is added to q so that it is unsigned, or was added to it in the file: taken off by the sum
// of the activations.
QK_INLINE int32_t offset_of(qk_format format) {
  return format == QK_Q4_0 ? 8 : format == QK_Q8_0 ? 128 : 0;
}

QK_INLINE QK_AVX512 __m256i as_unsigned(qk_format format, __m256i q) {
  return format == QK_Q8_0 ? _mm256_xor_si256(q, _mm256_set1_epi8(-128)) : q;
}

// Up to 8 rows times one token.
QK_INLINE QK_AVX512 void one_token(qk_format format, const uint8_t *first, size_t row_bytes,
                                   size_t count, size_t blocks, const qk_a8_block *x, float *y) {
  const uint8_t *row[8];
  qk_row_pointers(row, first, row_bytes, count);
  const size_t bytes = qk_block_bytes(format);
  const uint8_t *ahead = first + qk_prefetch_distance(8 * row_bytes);
  __m256 total = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch_block8(format, ahead, row_bytes, b);
    const qk_block8 block = qk_load_block8(format, row, b * bytes);
    __m256i even = _mm256_set1_epi32(-offset_of(format) * x[b].sum);
    __m256i odd = _mm256_setzero_si256();
    QK_UNROLL for (int g = 0; g < 8; g += 2) {
      even = _mm256_dpbusd_epi32(even, as_unsigned(format, block.q[g]), qk_four(x + b, g));
      odd = _mm256_dpbusd_epi32(odd, as_unsigned(format, block.q[g + 1]), qk_four(x + b, g + 1));
    }
    const __m256i products = _mm256_add_epi32(even, odd);
    total = qk_add_block8(format, products, block.d, block.m, x + b, total);
  }
  _mm256_mask_storeu_ps(y, (__mmask8)((1u << count) - 1), total);
}

QK_INLINE QK_AVX512 void panel_tokens(qk_format format, const int tokens, const panel *p,
                                      size_t blocks, const qk_a8_block *x, size_t x_stride,
                                      float *y, size_t y_stride, int is_first, __mmask16 mask) {
  __m512 totals[TOKENS];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm512_setzero_ps()
                         : _mm512_maskz_loadu_ps(mask, y + (size_t)t * y_stride);
  }
  for (size_t b = 0; b < blocks; b++) {
    __m512i products[TOKENS];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      products[t] = _mm512_set1_epi32(-offset_of(format) * x[(size_t)t * x_stride + b].sum);
    }
    QK_UNROLL for (int g = 0; g < 8; g++) {
      const __m512i q = p->q[b][g];
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        int32_t four;
        memcpy(&four, x[(size_t)t * x_stride + b].values + 4 * g, sizeof four);
        products[t] = _mm512_dpbusd_epi32(products[t], q, _mm512_set1_epi32(four));
      }
    }
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *block = x + (size_t)t * x_stride + b;
      const __m512 scale = _mm512_mul_ps(p->d[b], _mm512_set1_ps(block->scale));
      totals[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[t]), scale, totals[t]);
      if (format == QK_Q4_1) {
        const __m512 sum = _mm512_set1_ps(block->scale * (float)block->sum);
        totals[t] = _mm512_fmadd_ps(p->m[b], sum, totals[t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// All tokens over the panel of the blocks from start on.
QK_INLINE QK_AVX512 void pass(qk_format format, const panel *p, size_t start, size_t filled,
                              const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                              size_t y_stride, __mmask16 mask) {
  size_t t = 0;
  for (; t + TOKENS <= tokens; t += TOKENS) {
    panel_tokens(format, TOKENS, p, filled, x + t * x_stride + start, x_stride,
                 y + t * y_stride, y_stride, start == 0, mask);
  }
  for (; t + 2 <= tokens; t += 2) {
    panel_tokens(format, 2, p, filled, x + t * x_stride + start, x_stride, y + t * y_stride,
                 y_stride, start == 0, mask);
  }
  for (; t < tokens; t++) {
    panel_tokens(format, 1, p, filled, x + t * x_stride + start, x_stride, y + t * y_stride,
                 y_stride, start == 0, mask);
  }
}

// Half of a panel's vectors: 8 of the 16 rows.
QK_INLINE QK_AVX512 void fill(qk_format format, panel *p, size_t half, const uint8_t *const row[8],
                              size_t start, size_t filled) {
  for (size_t b = 0; b < filled; b++) {
    const qk_block8 block = qk_load_block8(format, row, (start + b) * qk_block_bytes(format));
    QK_UNROLL for (int g = 0; g < 8; g++) {
      _mm256_store_si256((__m256i *)&p->q[b][g] + half, as_unsigned(format, block.q[g]));
    }
    _mm256_store_ps((float *)&p->d[b] + 8 * half, block.d);
    _mm256_store_ps((float *)&p->m[b] + 8 * half, block.m);
  }
}

// Up to 16 rows times several tokens.
QK_INLINE QK_AVX512 void many_tokens(qk_format format, const uint8_t *first, size_t row_bytes,
                                     size_t count, size_t blocks, const qk_a8_block *x,
                                     size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const uint8_t *low[8];
  const uint8_t *high[8];
  qk_row_pointers(low, first, row_bytes, count);
  // Where there are no more than 8 rows the upper half repeats one; its results are not stored.
  const size_t below = count > 8 ? 8 : 0;
  qk_row_pointers(high, first + below * row_bytes, row_bytes, count - below);
  const __mmask16 mask = (__mmask16)((1u << count) - 1);
  panel p;
  for (size_t start = 0; start < blocks; start += PANEL_BLOCKS) {
    const size_t filled = blocks - start < PANEL_BLOCKS ? blocks - start : PANEL_BLOCKS;
    fill(format, &p, 0, low, start, filled);
    fill(format, &p, 1, high, start, filled);
    pass(format, &p, start, filled, x, x_stride, tokens, y, y_stride, mask);
  }
}

QK_INLINE QK_AVX512 void matmul(qk_format format, qk_block_matmul *rest, const uint8_t *weights,
                                size_t row_bytes, size_t rows, size_t blocks,
                                const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                                size_t y_stride) {
  if (blocks == 0) {
    rest(weights, row_bytes, rows, 0, x, x_stride, tokens, y, y_stride);
    return;
  }
  const size_t height = tokens == 1 ? 8 : 16;
  for (size_t r = 0; r < rows; r += height) {
    const size_t count = rows - r < height ? rows - r : height;
    const uint8_t *first = weights + r * row_bytes;
    if (tokens == 1) {
      one_token(format, first, row_bytes, count, blocks, x, y + r);
    } else {
      many_tokens(format, first, row_bytes, count, blocks, x, x_stride, tokens, y + r, y_stride);
    }
  }
}

// ---- Interleaved weights: 16 rows in one vector for any number of tokens --------

QK_INLINE QK_AVX512 __m512i group_q(qk_format format, const uint8_t *block, int w) {
  const size_t halves = format == QK_Q4_1 ? 2 : 1;
  return _mm512_loadu_si512(block + 2 * QK_GROUP * halves + 64 * (size_t)w);
}

QK_INLINE QK_AVX512 __m512 group_half(const uint8_t *block, int n) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(block + 2 * QK_GROUP * n)));
}

// The unsigned weights of the 4 columns of word g.
QK_INLINE QK_AVX512 __m512i group_word(qk_format format, const uint8_t *block, int g) {
  if (format == QK_Q8_0) {
    return _mm512_xor_si512(group_q(format, block, g), _mm512_set1_epi8(-128));
  }
  const __m512i q = group_q(format, block, g % 4);
  return _mm512_and_si512(g < 4 ? q : _mm512_srli_epi16(q, 4), _mm512_set1_epi8(15));
}

// A group of 16 rows times up to FEW tokens, weights used as they are loaded.
QK_INLINE QK_AVX512 void few_tokens(qk_format format, const int tokens, const uint8_t *group,
                                    size_t blocks, const qk_a8_block *x, size_t x_stride, float *y,
                                    size_t y_stride, __mmask16 mask) {
  __m512 totals[FEW];
  QK_UNROLL for (int t = 0; t < tokens; t++) { totals[t] = _mm512_setzero_ps(); }
  for (size_t b = 0; b < blocks; b++) {
    const uint8_t *block = group + b * QK_GROUP * qk_block_bytes(format);
    qk_prefetch_group(format, group, b);
    // Two sums a token, so that one does not wait for the other.
    __m512i products[FEW][2];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      products[t][0] = _mm512_set1_epi32(-offset_of(format) * x[(size_t)t * x_stride + b].sum);
      products[t][1] = _mm512_setzero_si512();
    }
    QK_UNROLL for (int g = 0; g < 8; g++) {
      const __m512i q = group_word(format, block, g);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        int32_t four;
        memcpy(&four, x[(size_t)t * x_stride + b].values + 4 * g, sizeof four);
        products[t][g / 4] = _mm512_dpbusd_epi32(products[t][g / 4], q, _mm512_set1_epi32(four));
      }
    }
    const __m512 d = group_half(block, 0);
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *a = x + (size_t)t * x_stride + b;
      const __m512 exact = _mm512_cvtepi32_ps(_mm512_add_epi32(products[t][0], products[t][1]));
      totals[t] = _mm512_fmadd_ps(exact, _mm512_mul_ps(d, _mm512_set1_ps(a->scale)), totals[t]);
      if (format == QK_Q4_1) {
        const __m512 sum = _mm512_set1_ps(a->scale * (float)a->sum);
        totals[t] = _mm512_fmadd_ps(group_half(block, 1), sum, totals[t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

QK_INLINE QK_AVX512 void fill_from_group(qk_format format, panel *p, const uint8_t *group,
                                         size_t filled) {
  for (size_t b = 0; b < filled; b++) {
    const uint8_t *block = group + b * QK_GROUP * qk_block_bytes(format);
    QK_UNROLL for (int g = 0; g < 8; g++) { p->q[b][g] = group_word(format, block, g); }
    p->d[b] = group_half(block, 0);
    p->m[b] = format == QK_Q4_1 ? group_half(block, 1) : _mm512_setzero_ps();
  }
}

QK_INLINE QK_AVX512 void matmul_x16(qk_format format, qk_block_matmul *rest,
                                    const uint8_t *weights, size_t row_bytes, size_t rows,
                                    size_t blocks, const qk_a8_block *x, size_t x_stride,
                                    size_t tokens, float *y, size_t y_stride) {
  if (blocks == 0) {
    rest(weights, row_bytes, rows, 0, x, x_stride, tokens, y, y_stride);
    return;
  }
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    const uint8_t *group = weights + r * row_bytes;
    switch (tokens) {
    case 1: few_tokens(format, 1, group, blocks, x, x_stride, y + r, y_stride, mask); break;
    case 2: few_tokens(format, 2, group, blocks, x, x_stride, y + r, y_stride, mask); break;
    case 3: few_tokens(format, 3, group, blocks, x, x_stride, y + r, y_stride, mask); break;
    case 4: few_tokens(format, 4, group, blocks, x, x_stride, y + r, y_stride, mask); break;
    default: {
      panel p;
      for (size_t start = 0; start < blocks; start += PANEL_BLOCKS) {
        const size_t filled = blocks - start < PANEL_BLOCKS ? blocks - start : PANEL_BLOCKS;
        fill_from_group(format, &p, group + start * QK_GROUP * qk_block_bytes(format), filled);
        pass(format, &p, start, filled, x, x_stride, tokens, y + r, y_stride, mask);
      }
    }
    }
  }
}

// ---- Interleaved Q4_K: 8 parts a block, which unpacked are blocks of Q4_1 --------

enum { PARTS = 8, Q4_K_BYTES = QK_GROUP * 144 };

typedef struct {
  __m512i w[4];
  __m512 d, m;
} k_head16;

QK_INLINE QK_AVX512 k_head16 k_head(const uint8_t *block) {
  k_head16 head;
  QK_UNROLL for (int w = 0; w < 4; w++) { head.w[w] = _mm512_loadu_si512(block + 64 * (size_t)w); }
  head.d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(head.w[0]));
  head.m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(head.w[0], 16)));
  head.m = _mm512_xor_ps(head.m, _mm512_set1_ps(-0.0f));
  return head;
}

// d and m of a part, from 6 bits each (scales6.h).
QK_INLINE QK_AVX512 void k_scales(const k_head16 *head, int part, __m512 *d, __m512 *m) {
  __m512i scale, minimum;
  if (part < 4) {
    scale = _mm512_and_si512(_mm512_srli_epi32(head->w[1], 8 * part), _mm512_set1_epi32(63));
    minimum = _mm512_and_si512(_mm512_srli_epi32(head->w[2], 8 * part), _mm512_set1_epi32(63));
  } else {
    const unsigned i = 8 * ((unsigned)part - 4);
    const __m512i low = _mm512_srli_epi32(head->w[3], i);
    const __m512i four = _mm512_set1_epi32(15);
    const __m512i two = _mm512_set1_epi32(48);
    scale = _mm512_or_si512(_mm512_and_si512(low, four),
                            _mm512_and_si512(_mm512_srli_epi32(head->w[1], i + 2), two));
    minimum = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(low, 4), four),
                              _mm512_and_si512(_mm512_srli_epi32(head->w[2], i + 2), two));
  }
  *d = _mm512_mul_ps(head->d, _mm512_cvtepi32_ps(scale));
  *m = _mm512_mul_ps(head->m, _mm512_cvtepi32_ps(minimum));
}

QK_INLINE QK_AVX512 __m512i k_word(const uint8_t *block, int part, int g) {
  const __m512i q = _mm512_loadu_si512(block + 64 * (size_t)(4 + part / 2 * 8 + g));
  const __m512i low = part % 2 == 0 ? q : _mm512_srli_epi16(q, 4);
  return _mm512_and_si512(low, _mm512_set1_epi8(15));
}

// 16 rows times one token.
QK_INLINE QK_AVX512 void k_one_token(const uint8_t *group, size_t blocks, const qk_a8_block *x,
                                     float *y, __mmask16 mask) {
  __m512 total = _mm512_setzero_ps();
  for (size_t b = 0; b < blocks; b++, group += Q4_K_BYTES) {
    const k_head16 head = k_head(group);
    QK_UNROLL for (int p = 0; p < PARTS; p++, x++) {
      qk_prefetch(group + (size_t)p * (Q4_K_BYTES / 8) + QK_AHEAD, Q4_K_BYTES / 8);
      __m512i even = _mm512_setzero_si512();
      __m512i odd = _mm512_setzero_si512();
      QK_UNROLL for (int g = 0; g < 8; g += 2) {
        int32_t fours[2];
        memcpy(fours, x->values + 4 * g, sizeof fours);
        even = _mm512_dpbusd_epi32(even, k_word(group, p, g), _mm512_set1_epi32(fours[0]));
        odd = _mm512_dpbusd_epi32(odd, k_word(group, p, g + 1), _mm512_set1_epi32(fours[1]));
      }
      __m512 d, m;
      k_scales(&head, p, &d, &m);
      const __m512 exact = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
      total = _mm512_fmadd_ps(exact, _mm512_mul_ps(d, _mm512_set1_ps(x->scale)), total);
      total = _mm512_fmadd_ps(m, _mm512_set1_ps(x->scale * (float)x->sum), total);
    }
  }
  _mm512_mask_storeu_ps(y, mask, total);
}

QK_INLINE QK_AVX512 void k_fill(panel *panel, const uint8_t *group, size_t blocks) {
  for (size_t b = 0; b < blocks; b++, group += Q4_K_BYTES) {
    const k_head16 head = k_head(group);
    QK_UNROLL for (int p = 0; p < PARTS; p++) {
      const size_t at = b * PARTS + (size_t)p;
      k_scales(&head, p, &panel->d[at], &panel->m[at]);
      QK_UNROLL for (int g = 0; g < 8; g++) { panel->q[at][g] = k_word(group, p, g); }
    }
  }
}

QK_AVX512 void qk_q4_kx16_matmul_a8_avx512(const void *weights, size_t row_bytes, size_t rows,
                                           size_t columns, const qk_a8_block *x, size_t x_stride,
                                           size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 256;
  if (blocks == 0) {
    qk_q4_kx16_matmul_a8_avx2(weights, row_bytes, rows, 0, x, x_stride, tokens, y, y_stride);
    return;
  }
  const size_t step = PANEL_BLOCKS / PARTS;
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    const uint8_t *group = (const uint8_t *)weights + r * row_bytes;
    if (tokens == 1) {
      k_one_token(group, blocks, x, y + r, mask);
      continue;
    }
    panel p;
    for (size_t start = 0; start < blocks; start += step) {
      const size_t filled = blocks - start < step ? blocks - start : step;
      k_fill(&p, group + start * Q4_K_BYTES, filled);
      pass(QK_Q4_1, &p, start * PARTS, filled * PARTS, x, x_stride, tokens, y + r, y_stride, mask);
    }
  }
}

#define QK_MATMUL(name, body, format, rest)                                                     \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,       \
                      const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,           \
                      size_t y_stride) {                                                        \
    body(format, rest, weights, row_bytes, rows, columns / 32, x, x_stride, tokens, y,          \
         y_stride);                                                                             \
  }

QK_MATMUL(qk_q4_0_matmul_a8_avx512, matmul, QK_Q4_0, qk_q4_0_matmul_a8_avx2)
QK_MATMUL(qk_q4_1_matmul_a8_avx512, matmul, QK_Q4_1, qk_q4_1_matmul_a8_avx2)
QK_MATMUL(qk_q8_0_matmul_a8_avx512, matmul, QK_Q8_0, qk_q8_0_matmul_a8_avx2)
QK_MATMUL(qk_q4_0x16_matmul_a8_avx512, matmul_x16, QK_Q4_0, qk_q4_0x16_matmul_a8_avx2)
QK_MATMUL(qk_q4_1x16_matmul_a8_avx512, matmul_x16, QK_Q4_1, qk_q4_1x16_matmul_a8_avx2)
QK_MATMUL(qk_q8_0x16_matmul_a8_avx512, matmul_x16, QK_Q8_0, qk_q8_0x16_matmul_a8_avx2)

#endif
