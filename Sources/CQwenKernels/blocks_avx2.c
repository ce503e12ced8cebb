// Products of blocked formats and 8-bit activations with AVX2: 8 rows in the lanes of one vector, two
// vectors a tile.
//
// One token multiplies blocks as they are loaded. For several tokens the blocks of 16 rows are first
// laid out in a panel of a few kilobytes, which all tokens then pass over, TOKENS at a time: one load
// of weights serves 3 tokens, one broadcast of activations 16 rows, and loads stay below the two a
// cycle that multiplications take. Interleaved weights need no panel for few tokens.
//
// blocks_avxvnni.c compiles this file a second time, with QK_VNNI: 4 products an instruction, added in 32 bits.
#include "interleaved.h"
#include "scales6.h"

#if QK_X86

#ifndef QK_VNNI
#define QK_VNNI 0
#define QK_TWIN(name) name##_avx2
#endif

enum {
  HALVES = 2, // vectors of rows in a tile
  TOKENS = 3, // 2 x 3 sums, 2 x 3 totals, 2 weights and 1 activation fill 15 of 16 registers
  MOST_TOKENS = 4, // of a tile, whose totals then lie in memory
  PANEL_BLOCKS = 16,
};

// Where the q, d and m of 16 rows lie.
typedef enum { PANEL, GROUP } layout;

// 8 bits are taken apart into halves of 4 bits, 128 + q = 16 high + low: so their products are added
// in 16 bits like those of 4-bit formats, without the sign trick and with an eighth of the widening
// multiplications.
typedef struct {
  __m256i low[PANEL_BLOCKS][8][HALVES];
  __m256i high[PANEL_BLOCKS][8][HALVES]; // of 8 bits
  __m256 d[PANEL_BLOCKS][HALVES];
  __m256 m[PANEL_BLOCKS][HALVES];
} panel;

// What q is more than the signed weight, in the panel.
QK_INLINE int32_t offset_of(qk_format format) {
  return format == QK_Q4_0 ? 8 : format == QK_Q8_0 ? 128 : 0;
}

// Broadcast by the load, then shifted: the other way round, which the compiler must be kept from, takes one operation more.
QK_INLINE QK_AVX2 __m256i offset_times_sum(qk_format format, const qk_a8_block *x) {
  __m256i sum = _mm256_set1_epi32(x->sum);
  __asm__("" : "+x"(sum));
  return _mm256_slli_epi32(sum, offset_of(format) == 8 ? 3 : 7);
}

QK_INLINE QK_AVX2 __m256i four_bits(__m256i q, int high) {
  return _mm256_and_si256(high ? _mm256_srli_epi16(q, 4) : q, _mm256_set1_epi8(15));
}

// What comes later is loaded and added later. Without this the compiler turns the sums into trees,
// wants 30 registers of 16, and a third of the loads are its spills.
#define QK_IN_ORDER(sum) __asm__ volatile("" : "+x"(sum)::"memory")

typedef struct {
  const panel *p;         // PANEL
  const uint8_t *group;   // GROUP: the first block of the group
} source;

QK_INLINE QK_AVX2 __m256i group_q(qk_format format, const uint8_t *group, size_t b, int w, int h) {
  const uint8_t *block = group + b * QK_GROUP * qk_block_bytes(format);
  const size_t halves = format == QK_Q4_1 ? 2 : 1;
  return _mm256_loadu_si256(
      (const __m256i *)(block + 2 * QK_GROUP * halves + 64 * (size_t)w + 32 * (size_t)h));
}

QK_INLINE QK_AVX2 __m256 group_half(qk_format format, const uint8_t *group, size_t b, int n,
                                    int h) {
  const uint8_t *block = group + b * QK_GROUP * qk_block_bytes(format);
  return _mm256_cvtph_ps(
      _mm_loadu_si128((const __m128i *)(block + 2 * QK_GROUP * n + 16 * (size_t)h)));
}

QK_INLINE QK_AVX2 __m256i as_unsigned(__m256i q) {
  return _mm256_xor_si256(q, _mm256_set1_epi8(-128));
}

// Unsigned weights for the 4 columns of word g, without the high halves of 8 bits in a panel.
QK_INLINE QK_AVX2 __m256i low_of(qk_format format, layout l, source s, size_t b, int g, int h) {
  if (l == PANEL) {
    return s.p->low[b][g][h];
  }
  return format == QK_Q8_0 ? as_unsigned(group_q(format, s.group, b, g, h))
                           : four_bits(group_q(format, s.group, b, g % 4, h), g / 4);
}

QK_INLINE QK_AVX2 __m256 d_of(qk_format format, layout l, source s, size_t b, int h) {
  return l == PANEL ? s.p->d[b][h] : group_half(format, s.group, b, 0, h);
}

QK_INLINE QK_AVX2 __m256 m_of(qk_format format, layout l, source s, size_t b, int h) {
  return l == PANEL ? s.p->m[b][h] : group_half(format, s.group, b, 1, h);
}

// Nothing but a panel asks for the next one while it is multiplied. Blocks of 8 bits are fetched little by little: at once they
// would be more than there are buffers. Those of 4 bits are fetched as it is filled, which costs less.
typedef struct {
  const uint8_t *at;
  size_t step; // bytes for each block and tile
} coming;

QK_INLINE int is_fetched_slowly(qk_format format) { return format == QK_Q8_0; }

// As much as a panel of `bytes` bytes has, behind it, in all tiles of these tokens.
QK_INLINE coming next_panel(const uint8_t *group, size_t bytes, size_t blocks, size_t tokens) {
  const size_t tiles = (tokens + TOKENS - 1) / TOKENS;
  return (coming){group + bytes, bytes / (blocks * tiles) + 1};
}

// The exact products of a block of 16 rows and some tokens, without the offset.
QK_INLINE QK_AVX2 void products_of(qk_format format, layout l, const int tokens, source s,
                                   size_t b, const qk_a8_block *x, size_t x_stride,
                                   __m256i products[HALVES][MOST_TOKENS]) {
  if (QK_VNNI) {
    QK_UNROLL for (int g = 0; g < 8; g++) {
      const __m256i q[HALVES] = {low_of(format, l, s, b, g, 0), low_of(format, l, s, b, g, 1)};
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const __m256i four = qk_four(x + (size_t)t * x_stride + b, g);
        QK_UNROLL for (int h = 0; h < HALVES; h++) {
          const __m256i sum = g == 0 ? _mm256_setzero_si256() : products[h][t];
          products[h][t] = qk_dot_vnni(sum, q[h], four);
          QK_IN_ORDER(products[h][t]);
        }
      }
    }
    return;
  }
  // 8 pairs of at most 2 * 15 * 127 stay within 16 bits: 30480.
  __m256i pairs[HALVES][MOST_TOKENS];
  if (format == QK_Q8_0) {
    QK_UNROLL for (int g = 0; g < 8; g++) {
      const __m256i q[HALVES] = {s.p->high[b][g][0], s.p->high[b][g][1]};
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const __m256i four = qk_four(x + (size_t)t * x_stride + b, g);
        QK_UNROLL for (int h = 0; h < HALVES; h++) {
          const __m256i p = _mm256_maddubs_epi16(q[h], four);
          pairs[h][t] = g == 0 ? p : _mm256_add_epi16(pairs[h][t], p);
          QK_IN_ORDER(pairs[h][t]);
        }
      }
    }
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      QK_UNROLL for (int h = 0; h < HALVES; h++) {
        products[h][t] = _mm256_madd_epi16(pairs[h][t], _mm256_set1_epi16(16));
      }
    }
  }
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i q[HALVES] = {low_of(format, l, s, b, g, 0), low_of(format, l, s, b, g, 1)};
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m256i four = qk_four(x + (size_t)t * x_stride + b, g);
      QK_UNROLL for (int h = 0; h < HALVES; h++) {
        const __m256i p = _mm256_maddubs_epi16(q[h], four);
        pairs[h][t] = g == 0 ? p : _mm256_add_epi16(pairs[h][t], p);
        QK_IN_ORDER(pairs[h][t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int h = 0; h < HALVES; h++) {
      const __m256i sum = _mm256_madd_epi16(pairs[h][t], _mm256_set1_epi16(1));
      products[h][t] = format == QK_Q8_0 ? _mm256_add_epi32(products[h][t], sum) : sum;
    }
  }
}

// |q| * sign(a, q): a pair is at most 2 * 128 * 127, which 16 bits hold. For weights that are used
// once this is less work than taking them apart.
QK_INLINE QK_AVX2 __m256i add_signed(__m256i sum, __m256i q, __m256i four) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(four, q));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

QK_INLINE QK_AVX2 void signed_products(source s, const int tokens, size_t b, const qk_a8_block *x,
                                       size_t x_stride, __m256i products[HALVES][MOST_TOKENS]) {
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i q[HALVES] = {group_q(QK_Q8_0, s.group, b, g, 0), group_q(QK_Q8_0, s.group, b, g, 1)};
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m256i four = qk_four(x + (size_t)t * x_stride + b, g);
      QK_UNROLL for (int h = 0; h < HALVES; h++) {
        const __m256i sum = g == 0 ? _mm256_setzero_si256() : products[h][t];
        products[h][t] = add_signed(sum, q[h], four);
      }
    }
  }
}

// The masks of 8 rows each.
QK_INLINE QK_AVX2 __m256i mask_of(size_t count, int h) {
  return qk_mask8(h == 0 ? count : count > 8 ? count - 8 : 0);
}

QK_INLINE QK_AVX2 void load_totals(const int tokens, const float *y, size_t y_stride, int is_first,
                                   size_t count, __m256 totals[HALVES][MOST_TOKENS]) {
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int h = 0; h < HALVES; h++) {
      totals[h][t] = is_first ? _mm256_setzero_ps()
                              : _mm256_maskload_ps(y + (size_t)t * y_stride + 8 * h, mask_of(count, h));
    }
  }
}

QK_INLINE QK_AVX2 void store_totals(const int tokens, float *y, size_t y_stride, size_t count,
                                    const __m256 totals[HALVES][MOST_TOKENS]) {
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int h = 0; h < HALVES; h++) {
      qk_store_first8(y + (size_t)t * y_stride + 8 * h, h == 0 ? count : count > 8 ? count - 8 : 0, totals[h][t]);
    }
  }
}

// Adds the products of some blocks of 16 rows and a few tokens to y, or stores them if they are the
// first.
QK_INLINE QK_AVX2 void tile(qk_format format, layout l, const int tokens, source s, size_t blocks,
                            const qk_a8_block *x, size_t x_stride, float *y, size_t y_stride,
                            int is_first, size_t count, coming *next) {
  __m256 totals[HALVES][MOST_TOKENS];
  load_totals(tokens, y, y_stride, is_first, count, totals);
  const int is_signed = format == QK_Q8_0 && l == GROUP && !QK_VNNI;
  for (size_t b = 0; b < blocks; b++) {
    __m256i products[HALVES][MOST_TOKENS];
    if (l == GROUP) {
      qk_prefetch_group(format, s.group, b);
    } else if (is_fetched_slowly(format)) {
      qk_prefetch_near(next->at, 128);
      next->at += next->step;
    }
    if (is_signed) {
      signed_products(s, tokens, b, x, x_stride, products);
    } else {
      products_of(format, l, tokens, s, b, x, x_stride, products);
    }
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const qk_a8_block *a = x + (size_t)t * x_stride + b;
      QK_UNROLL for (int h = 0; h < HALVES; h++) {
        __m256i exact = products[h][t];
        if (offset_of(format) != 0 && !is_signed) {
          exact = _mm256_sub_epi32(exact, offset_times_sum(format, a));
        }
        const __m256 d = d_of(format, l, s, b, h);
        const __m256 m = format == QK_Q4_1 ? m_of(format, l, s, b, h) : d;
        totals[h][t] = qk_add_block8(format, exact, d, m, a, totals[h][t]);
      }
    }
  }
  store_totals(tokens, y, y_stride, count, totals);
}

// Tokens of the next tile: tiles of one, which do least with what they load, only where there is no other way. 4 that multiply
// codes of 4 bits as they are unpacked gain more by doing that once than they lose to memory; with signs taken off and on,
// 2 are best.
QK_INLINE size_t next_tile(qk_format format, layout l, size_t tokens) {
  if (tokens <= TOKENS) {
    return tokens;
  }
  if (l == PANEL || QK_VNNI) {
    return tokens == 4 ? 2 : TOKENS;
  }
  if (format == QK_Q8_0) {
    return tokens == 5 ? 3 : 2;
  }
  return tokens == 5 || tokens == 6 ? 3 : 4;
}

QK_INLINE QK_AVX2 void tiles(qk_format format, layout l, source s, size_t blocks,
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                             size_t y_stride, int is_first, size_t count, coming next) {
  while (tokens > 0) {
    const size_t step = next_tile(format, l, tokens);
    if (step == 4) tile(format, l, 4, s, blocks, x, x_stride, y, y_stride, is_first, count, &next);
    if (step == 3) tile(format, l, 3, s, blocks, x, x_stride, y, y_stride, is_first, count, &next);
    if (step == 2) tile(format, l, 2, s, blocks, x, x_stride, y, y_stride, is_first, count, &next);
    if (step == 1) tile(format, l, 1, s, blocks, x, x_stride, y, y_stride, is_first, count, &next);
    tokens -= step;
    x += step * x_stride;
    y += step * y_stride;
  }
}

QK_INLINE QK_AVX2 void put(qk_format format, panel *p, size_t b, int g, int h, __m256i q) {
  if (format == QK_Q8_0 && !QK_VNNI) {
    q = as_unsigned(q);
    p->low[b][g][h] = four_bits(q, 0);
    p->high[b][g][h] = four_bits(q, 1);
  } else {
    p->low[b][g][h] = format == QK_Q8_0 ? as_unsigned(q) : q;
  }
}

QK_INLINE QK_AVX2 void fill_from_rows(qk_format format, panel *p, int h, const uint8_t *first,
                                      size_t row_bytes, size_t count, size_t start,
                                      size_t filled) {
  const uint8_t *row[8];
  qk_row_pointers(row, first, row_bytes, count);
  const uint8_t *ahead = first + qk_prefetch_distance(16 * row_bytes);
  for (size_t b = 0; b < filled; b++) {
    qk_prefetch_block8(format, ahead, row_bytes, start + b);
    const qk_block8 block = qk_load_block8(format, row, (start + b) * qk_block_bytes(format));
    QK_UNROLL for (int g = 0; g < 8; g++) { put(format, p, b, g, h, block.q[g]); }
    p->d[b][h] = block.d;
    p->m[b][h] = block.m;
  }
}

QK_INLINE QK_AVX2 void fill_from_group(qk_format format, panel *p, const uint8_t *group,
                                       size_t filled) {
  const source s = {0, group};
  const size_t bytes = QK_GROUP * qk_block_bytes(format);
  for (size_t b = 0; b < filled; b++) {
    if (!is_fetched_slowly(format)) {
      qk_prefetch_near(group + (b + PANEL_BLOCKS) * bytes, bytes);
    }
    QK_UNROLL for (int h = 0; h < HALVES; h++) {
      QK_UNROLL for (int g = 0; g < 8; g++) {
        put(format, p, b, g, h,
            format == QK_Q8_0 ? group_q(format, group, b, g, h)
                              : low_of(format, GROUP, s, b, g, h));
      }
      p->d[b][h] = group_half(format, group, b, 0, h);
      p->m[b][h] = format == QK_Q4_1 ? group_half(format, group, b, 1, h) : _mm256_setzero_ps();
    }
  }
}

// Up to 16 rows times several tokens.
QK_INLINE QK_AVX2 void many_tokens(qk_format format, layout from, const uint8_t *first,
                                   size_t row_bytes, size_t count, size_t blocks,
                                   const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                                   size_t y_stride) {
  panel p;
  const source s = {&p, 0};
  for (size_t start = 0; start < blocks; start += PANEL_BLOCKS) {
    const size_t filled = blocks - start < PANEL_BLOCKS ? blocks - start : PANEL_BLOCKS;
    coming next = {first, 0};
    if (from == GROUP) {
      const size_t bytes = QK_GROUP * qk_block_bytes(format);
      fill_from_group(format, &p, first + start * bytes, filled);
      next = next_panel(first + start * bytes, filled * bytes, filled, tokens);
    } else {
      const size_t below = count > 8 ? 8 : 0;
      fill_from_rows(format, &p, 0, first, row_bytes, count, start, filled);
      // Where there are no more than 8 rows the second half repeats them; it is not stored.
      fill_from_rows(format, &p, 1, first + below * row_bytes, row_bytes, count - below, start,
                     filled);
    }
    tiles(format, PANEL, s, filled, x + start, x_stride, tokens, y, y_stride, start == 0, count, next);
  }
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
    __m256i products = _mm256_setzero_si256();
    if (QK_VNNI) {
      QK_UNROLL for (int g = 0; g < 8; g++) {
        const __m256i q = format == QK_Q8_0 ? as_unsigned(block.q[g]) : block.q[g];
        products = qk_dot_vnni(products, q, qk_four(x + b, g));
      }
    } else if (format == QK_Q8_0) {
      QK_UNROLL for (int g = 0; g < 8; g++) {
        products = add_signed(products, block.q[g], qk_four(x + b, g));
      }
    } else {
      __m256i pairs = _mm256_maddubs_epi16(block.q[0], qk_four(x + b, 0));
      QK_UNROLL for (int g = 1; g < 8; g++) {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(block.q[g], qk_four(x + b, g)));
      }
      products = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
    if (offset_of(format) != 0 && (format != QK_Q8_0 || QK_VNNI)) {
      products = _mm256_sub_epi32(products, offset_times_sum(format, x + b));
    }
    total = qk_add_block8(format, products, block.d, block.m, x + b, total);
  }
  qk_store_first8(y, count, total);
}

QK_INLINE QK_AVX2 void zeros(size_t rows, size_t tokens, float *y, size_t y_stride) {
  for (size_t t = 0; t < tokens; t++) {
    memset(y + t * y_stride, 0, rows * sizeof(float));
  }
}

QK_INLINE QK_AVX2 void matmul(qk_format format, const uint8_t *weights, size_t row_bytes,
                              size_t rows, size_t blocks, const qk_a8_block *x, size_t x_stride,
                              size_t tokens, float *y, size_t y_stride) {
  if (blocks == 0) {
    zeros(rows, tokens, y, y_stride);
    return;
  }
  const size_t height = tokens == 1 ? 8 : 16;
  for (size_t r = 0; r < rows; r += height) {
    const size_t count = rows - r < height ? rows - r : height;
    const uint8_t *first = weights + r * row_bytes;
    if (tokens == 1) {
      one_token(format, first, row_bytes, count, blocks, x, y + r);
    } else {
      many_tokens(format, PANEL, first, row_bytes, count, blocks, x, x_stride, tokens, y + r,
                  y_stride);
    }
  }
}

QK_INLINE QK_AVX2 void matmul_x16(qk_format format, const uint8_t *weights, size_t row_bytes,
                                  size_t rows, size_t blocks, const qk_a8_block *x,
                                  size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  if (blocks == 0) {
    zeros(rows, tokens, y, y_stride);
    return;
  }
  // A few tiles cost less than a panel.
  const size_t most = QK_VNNI ? 9 : 8;
  const size_t run = tokens <= TOKENS ? blocks : PANEL_BLOCKS;
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const uint8_t *group = weights + r * row_bytes;
    if (tokens > most) {
      many_tokens(format, GROUP, group, row_bytes, count, blocks, x, x_stride, tokens, y + r, y_stride);
      continue;
    }
    for (size_t start = 0; start < blocks; start += run) {
      const size_t filled = blocks - start < run ? blocks - start : run;
      const source s = {0, group + start * QK_GROUP * qk_block_bytes(format)};
      tiles(format, GROUP, s, filled, x + start, x_stride, tokens, y + r, y_stride, start == 0, count,
            (coming){group, 0});
    }
  }
}

// ---- Interleaved Q4_K: 8 parts a block, which unpacked are blocks of Q4_1 --------

enum { PARTS = 8, Q4_K_BYTES = QK_GROUP * 144 };

QK_INLINE QK_AVX2 __m256i k_word(const uint8_t *block, int w, int h) {
  return _mm256_loadu_si256((const __m256i *)(block + 64 * (size_t)w + 32 * (size_t)h));
}

// Where the codes of parts i and i + 1 lie.
QK_INLINE const uint8_t *k_words(const uint8_t *block, int i) { return block + 256 + 256 * (size_t)i; }

// Fetches a quarter of a block that is needed later.
QK_INLINE void k_fetch(const uint8_t *block, int i) {
  qk_prefetch_near(block + (size_t)i * (Q4_K_BYTES / PARTS), Q4_K_BYTES / PARTS * 2);
}

// The scales and minima of all parts of a block.
QK_INLINE QK_AVX2 void k_factors(const uint8_t *block, __m256 d[PARTS][HALVES], __m256 m[PARTS][HALVES]) {
  QK_UNROLL for (int h = 0; h < HALVES; h++) {
    const qk_rows8 half = qk_half_group(block, h);
    qk_head8 head;
    qk_head_scales6(&half, 0, &head);
    QK_UNROLL for (int p = 0; p < PARTS; p++) {
      qk_part8 part;
      qk_apply_scales6(&head, p, &part);
      d[p][h] = part.d;
      m[p][h] = part.m;
    }
  }
}

// The products of 16 rows and some tokens with the parts first ... last - 1 of a quarter of a block, whose codes lie in the
// lower and the upper halves of the same bytes.
QK_INLINE QK_AVX2 void k_quarter(const int first, const int last, const int tokens, const uint8_t *words,
                                 __m256 (*d)[HALVES], __m256 (*m)[HALVES], const qk_a8_block *x,
                                 size_t x_stride, __m256 totals[HALVES][MOST_TOKENS]) {
  __m256i pairs[HALVES][2][TOKENS];
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i word[HALVES] = {k_word(words, g, 0), k_word(words, g, 1)};
    QK_UNROLL for (int p = first; p < last; p++) {
      const __m256i code[HALVES] = {four_bits(word[0], p), four_bits(word[1], p)};
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const __m256i four = qk_four(x + (size_t)t * x_stride + p, g);
        QK_UNROLL for (int h = 0; h < HALVES; h++) {
          __m256i *sum = &pairs[h][p][t];
          if (QK_VNNI) {
            *sum = qk_dot_vnni(g == 0 ? _mm256_setzero_si256() : *sum, code[h], four);
          } else {
            const __m256i products = _mm256_maddubs_epi16(code[h], four);
            *sum = g == 0 ? products : _mm256_add_epi16(*sum, products);
          }
        }
        QK_UNROLL for (int h = 0; h < HALVES; h++) { QK_IN_ORDER(pairs[h][p][t]); }
      }
    }
  }
  QK_UNROLL for (int p = first; p < last; p++) {
    QK_UNROLL for (int h = 0; h < HALVES; h++) {
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const __m256i sum = pairs[h][p][t];
        const __m256i exact = QK_VNNI ? sum : _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
        totals[h][t] = qk_add_block8(QK_Q4_1, exact, d[p][h], m[p][h], x + (size_t)t * x_stride + p,
                                     totals[h][t]);
      }
    }
  }
}

// 16 rows times some tokens: one takes the parts that share bytes together, more have not the registers for it.
QK_INLINE QK_AVX2 void k_tile(const int tokens, const uint8_t *group, size_t blocks, const qk_a8_block *x,
                              size_t x_stride, float *y, size_t y_stride, size_t count) {
  __m256 totals[HALVES][MOST_TOKENS];
  load_totals(tokens, y, y_stride, 1, count, totals);
  for (size_t b = 0; b < blocks; b++, group += Q4_K_BYTES) {
    __m256 d[PARTS][HALVES], m[PARTS][HALVES];
    k_factors(group, d, m);
    QK_ROLLED for (int i = 0; i < PARTS; i += 2, x += 2) {
      k_fetch(group + QK_PARTS_AHEAD, i);
      const uint8_t *words = k_words(group, i);
      if (tokens == 1) {
        k_quarter(0, 2, tokens, words, d + i, m + i, x, x_stride, totals);
      } else {
        k_quarter(0, 1, tokens, words, d + i, m + i, x, x_stride, totals);
        k_quarter(1, 2, tokens, words, d + i, m + i, x, x_stride, totals);
      }
    }
  }
  store_totals(tokens, y, y_stride, count, totals);
}

QK_INLINE QK_AVX2 void k_fill(panel *panel, const uint8_t *group, size_t blocks) {
  for (size_t b = 0; b < blocks; b++, group += Q4_K_BYTES) {
    const size_t at = b * PARTS;
    k_factors(group, panel->d + at, panel->m + at);
    QK_ROLLED for (int i = 0; i < PARTS; i += 2) {
      k_fetch(group + PANEL_BLOCKS / PARTS * Q4_K_BYTES, i);
      const uint8_t *words = k_words(group, i);
      QK_UNROLL for (int g = 0; g < 8; g++) {
        QK_UNROLL for (int h = 0; h < HALVES; h++) {
          const __m256i word = k_word(words, g, h);
          panel->low[at + (size_t)i][g][h] = four_bits(word, 0);
          panel->low[at + (size_t)i + 1][g][h] = four_bits(word, 1);
        }
      }
    }
  }
}

QK_AVX2 void QK_TWIN(qk_q4_kx16_matmul_a8)(const void *weights, size_t row_bytes, size_t rows,
                                           size_t columns, const qk_a8_block *x, size_t x_stride,
                                           size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 256;
  if (blocks == 0) {
    zeros(rows, tokens, y, y_stride);
    return;
  }
  const size_t step = PANEL_BLOCKS / PARTS;
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const uint8_t *group = (const uint8_t *)weights + r * row_bytes;
    if (tokens == 3) k_tile(3, group, blocks, x, x_stride, y + r, y_stride, count);
    if (tokens == 2) k_tile(2, group, blocks, x, x_stride, y + r, y_stride, count);
    if (tokens == 1) k_tile(1, group, blocks, x, x_stride, y + r, y_stride, count);
    for (size_t start = 0; start < blocks && tokens > TOKENS; start += step) {
      const size_t filled = blocks - start < step ? blocks - start : step;
      panel p;
      k_fill(&p, group + start * Q4_K_BYTES, filled);
      tiles(QK_Q4_1, PANEL, (source){&p, 0}, filled * PARTS, x + start * PARTS, x_stride, tokens,
            y + r, y_stride, start == 0, count, (coming){group, 0});
    }
  }
}

#define QK_MATMUL(name, body, format)                                                           \
  QK_AVX2 void QK_TWIN(name)(const void *weights, size_t row_bytes, size_t rows, size_t columns, \
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,    \
                             size_t y_stride) {                                                 \
    body(format, weights, row_bytes, rows, columns / 32, x, x_stride, tokens, y, y_stride);     \
  }

QK_MATMUL(qk_q4_0_matmul_a8, matmul, QK_Q4_0)
QK_MATMUL(qk_q4_1_matmul_a8, matmul, QK_Q4_1)
QK_MATMUL(qk_q8_0_matmul_a8, matmul, QK_Q8_0)
QK_MATMUL(qk_q4_0x16_matmul_a8, matmul_x16, QK_Q4_0)
QK_MATMUL(qk_q4_1x16_matmul_a8, matmul_x16, QK_Q4_1)
QK_MATMUL(qk_q8_0x16_matmul_a8, matmul_x16, QK_Q8_0)

#endif
