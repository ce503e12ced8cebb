// Blocks of 16 rows in the lanes of AVX-512 vectors, and their products with 8-bit activations.
//
// A block times a token takes 8 VNNI instructions, a multiplication and a fused one: 10 operations of
// two multipliers for 512 products. Loads, masks, offsets and conversions run on the other pipes
// meanwhile, so weights are not unpacked ahead, however many tokens there are: up to QK_TILE share
// each load, more pass over a run of blocks that the first-level cache holds.
#ifndef QK_BLOCKS_AVX512_H
#define QK_BLOCKS_AVX512_H

#include "interleaved.h"
#include "panel.h"

#if QK_X86

enum {
  QK_TILE = 8,        // tokens of a tile: 8 sums, 8 totals and up to 8 words of weights
  QK_RUN = 16,        // parts of 32 columns that several tiles pass over one after the other
  QK_MOST_UNIT = 272, // bytes of a row that are turned at once
};

// 16 rows; lane r of word g holds columns 4 g ... 4 g + 3 of row r, unsigned.
typedef struct {
  __m512i q[8];
  __m512 d;
  __m512 m; // of formats with a minimum
} qk_block16;

// What is added to q so that it is unsigned, or was added to it in the file: taken off by the sum
// of the activations.
QK_INLINE int32_t qk_offset_of(qk_format format) {
  return format == QK_Q4_0 ? 8 : format == QK_Q8_0 ? 128 : 0;
}

// How far ahead groups are fetched, `bytes` those of 32 columns: the more work a byte is, the fewer bytes does the
// processor see by itself.
QK_INLINE size_t qk_ahead16(size_t bytes, size_t tokens) {
  return tokens * 96 < bytes ? QK_AHEAD : QK_AHEAD * 3 / 2;
}

QK_INLINE QK_AVX512 __m512i qk_four16(const qk_a8_block *x, int g) {
  int32_t four;
  memcpy(&four, x->values + 4 * g, sizeof four);
  return _mm512_set1_epi32(four);
}

// Adds a block times some tokens to their totals.
QK_INLINE QK_AVX512 void qk_add_block16(qk_format format, const int tokens, const qk_block16 *w,
                                        const qk_a8_block *x, size_t x_stride, __m512 *totals) {
  // Of few tokens two sums each, so that one does not wait for the other.
  const int sums = tokens < 4 ? 2 : 1;
  __m512i products[QK_TILE][2];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    products[t][0] = products[t][1] = _mm512_setzero_si512();
  }
  QK_UNROLL for (int g = 0; g < 8; g++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m512i four = qk_four16(x + (size_t)t * x_stride, g);
      products[t][g % sums] = _mm512_dpbusd_epi32(products[t][g % sums], w->q[g], four);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    const qk_a8_block *a = x + (size_t)t * x_stride;
    __m512i exact = products[t][0];
    if (sums == 2) exact = _mm512_add_epi32(exact, products[t][1]);
    if (qk_offset_of(format) != 0) {
      const int shift = qk_offset_of(format) == 8 ? 3 : 7;
      exact = _mm512_sub_epi32(exact, _mm512_slli_epi32(_mm512_set1_epi32(a->sum), shift));
    }
    const __m512 scale = _mm512_mul_ps(w->d, _mm512_set1_ps(a->scale));
    totals[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), scale, totals[t]);
    if (format == QK_Q4_1) {
      totals[t] = _mm512_fmadd_ps(w->m, _mm512_set1_ps(a->scaled_sum), totals[t]);
    }
  }
}

// Adds the products of a run of blocks of 16 rows and as many tokens as the tile has to y, or stores
// them if they are the first; fetches what lies as far behind `ahead` as it reads behind `source`.
typedef void qk_tile16(const void *source, const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                       size_t x_stride, float *y, size_t y_stride, int is_first, __mmask16 mask);

// Defines the tiles of 1 ... 8 tokens and the table of them. `body` begins its parameters with the number of tokens.
#define QK_TILE16(name, tokens, body, ...)                                                      \
  static QK_AVX512 void name##_##tokens(const void *source, const uint8_t *ahead, size_t blocks, \
                                        const qk_a8_block *x, size_t x_stride, float *y,        \
                                        size_t y_stride, int is_first, __mmask16 mask) {        \
    __m512 totals[QK_TILE];                                                                     \
    qk_begin_tile(tokens, totals, y, y_stride, is_first, mask);                                 \
    body(tokens, __VA_ARGS__, source, ahead, blocks, x, x_stride, totals);                      \
    qk_end_tile(tokens, totals, y, y_stride, mask);                                             \
  }
#define QK_TILES16(name, body, ...)                                                             \
  QK_TILE16(name, 1, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 2, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 3, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 4, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 5, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 6, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 7, body, __VA_ARGS__)                                                         \
  QK_TILE16(name, 8, body, __VA_ARGS__)                                                         \
  static qk_tile16 *const name[QK_TILE] = {name##_1, name##_2, name##_3, name##_4,              \
                                           name##_5, name##_6, name##_7, name##_8};

QK_INLINE QK_AVX512 void qk_begin_tile(const int tokens, __m512 *totals, const float *y,
                                       size_t y_stride, int is_first, __mmask16 mask) {
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm512_setzero_ps()
                         : _mm512_maskz_loadu_ps(mask, y + (size_t)t * y_stride);
  }
}

QK_INLINE QK_AVX512 void qk_end_tile(const int tokens, const __m512 *totals, float *y,
                                     size_t y_stride, __mmask16 mask) {
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    _mm512_mask_storeu_ps(y + (size_t)t * y_stride, mask, totals[t]);
  }
}

// All tokens over a run of blocks, in tiles as even as can be.
QK_INLINE void qk_pass16(qk_tile16 *const tiles[QK_TILE], const void *source, const uint8_t *ahead,
                         size_t blocks, const qk_a8_block *x, size_t x_stride, size_t tokens,
                         float *y, size_t y_stride, int is_first, __mmask16 mask) {
  size_t left = (tokens + QK_TILE - 1) / QK_TILE;
  for (size_t t = 0; t < tokens; left--) {
    const size_t step = (tokens - t + left - 1) / left;
    tiles[step - 1](source, ahead, blocks, x + t * x_stride, x_stride, y + t * y_stride, y_stride,
                    is_first, mask);
    t += step;
    ahead = source; // in the cache already
  }
}

// Groups of 16 rows times all tokens: `bytes` are those of a block of a group, of `parts` times 32 columns. Beyond two tiles
// of tokens `turns` groups take turns at a run of blocks, so that each tile of activations, which all together don't fit the
// second-level cache, is read once for them.
QK_INLINE void qk_groups16(qk_tile16 *const tiles[QK_TILE], const uint8_t *weights, size_t row_bytes,
                           size_t rows, size_t blocks, size_t bytes, size_t parts,
                           size_t turns, const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                           size_t y_stride) {
  const size_t run = tokens <= QK_TILE ? blocks : QK_RUN / parts;
  const size_t height = tokens <= 2 * QK_TILE ? QK_GROUP : turns * QK_GROUP;
  const size_t ahead = qk_ahead16(bytes / parts, tokens);
  for (size_t first = 0; first < rows; first += height) {
    const size_t end = rows - first < height ? rows : first + height;
    for (size_t start = 0; start < blocks; start += run) {
      const size_t filled = blocks - start < run ? blocks - start : run;
      size_t left = (tokens + QK_TILE - 1) / QK_TILE;
      for (size_t t = 0, step; t < tokens; t += step, left--) {
        step = (tokens - t + left - 1) / left;
        for (size_t r = first; r < end; r += QK_GROUP) {
          const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
          const uint8_t *source = weights + r * row_bytes + start * bytes;
          tiles[step - 1](source, t == 0 ? source + ahead : source, filled,
                          x + start * parts + t * x_stride, x_stride, y + r + t * y_stride, y_stride,
                          start == 0, (__mmask16)((1u << count) - 1));
        }
      }
    }
  }
}

// ---- Turning rows into words --------

// 16 bytes of each of 16 rows as 4 words of every row: 16 loads, of which 12 fill a quarter of a
// vector, and 8 shuffles.
QK_INLINE QK_AVX512 void qk_turn16(const uint8_t *first, size_t row_bytes, __m512i out[4]) {
  __m512i v[4];
  const uint8_t *quarter = first;
  QK_UNROLL for (int j = 0; j < 4; j++) {
    // Else the compiler keeps 16 pointers, most of them in memory.
    __asm__("" : "+r"(quarter));
    QK_UNROLL for (int i = 0; i < 4; i++) {
      const __m128i bytes = _mm_loadu_si128((const __m128i *)(quarter + (size_t)i * row_bytes));
      v[i] = j == 0 ? _mm512_castsi128_si512(bytes)
                    : _mm512_mask_broadcast_i32x4(v[i], (__mmask16)(15 << 4 * j), bytes);
    }
    quarter += 4 * row_bytes;
  }
  const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]);
  const __m512i b = _mm512_unpackhi_epi32(v[0], v[1]);
  const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]);
  const __m512i d = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(a, c);
  out[1] = _mm512_unpackhi_epi64(a, c);
  out[2] = _mm512_unpacklo_epi64(b, d);
  out[3] = _mm512_unpackhi_epi64(b, d);
}

// 32 bytes of each of 16 rows as 8 words of every row: 16 loads, of which 8 fill half of a vector, and 24 shuffles.
QK_INLINE QK_AVX512 void qk_turn32(const uint8_t *first, size_t row_bytes, __m512i out[8]) {
  __m512i v[8];
  QK_UNROLL for (int j = 0; j < 2; j++) {
    QK_UNROLL for (int i = 0; i < 4; i++) {
      const uint8_t *low = first + (size_t)i * row_bytes;
      const __m256i upper = _mm256_loadu_si256((const __m256i *)(low + 4 * row_bytes));
      v[4 * j + i] = _mm512_inserti64x4(
          _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)low)), upper, 1);
    }
    first += 8 * row_bytes;
    // Else the compiler keeps 16 pointers, most of them in memory.
    __asm__("" : "+r"(first));
  }
  // Words w and w + 4 of rows 0 ... 3, then of rows 4 ... 7; likewise of rows 8 ... 15.
  __m512i turned[2][4];
  QK_UNROLL for (int j = 0; j < 2; j++) {
    const __m512i a = _mm512_unpacklo_epi32(v[4 * j], v[4 * j + 1]);
    const __m512i b = _mm512_unpackhi_epi32(v[4 * j], v[4 * j + 1]);
    const __m512i c = _mm512_unpacklo_epi32(v[4 * j + 2], v[4 * j + 3]);
    const __m512i d = _mm512_unpackhi_epi32(v[4 * j + 2], v[4 * j + 3]);
    turned[j][0] = _mm512_unpacklo_epi64(a, c);
    turned[j][1] = _mm512_unpackhi_epi64(a, c);
    turned[j][2] = _mm512_unpacklo_epi64(b, d);
    turned[j][3] = _mm512_unpackhi_epi64(b, d);
  }
  QK_UNROLL for (int w = 0; w < 4; w++) {
    out[w] = _mm512_shuffle_i32x4(turned[0][w], turned[1][w], 0x88);
    out[w + 4] = _mm512_shuffle_i32x4(turned[0][w], turned[1][w], 0xdd);
  }
}

// When 4 * count bytes from byte `at` on of 16 rows are turned: fetches as many at `ahead`, and what comes soon of count
// of the rows.
QK_INLINE void qk_prefetch_turn(const uint8_t *first, const uint8_t *ahead, size_t row_bytes, size_t at,
                                const int count, int is_near) {
  if (is_near) {
    qk_prefetch_near(ahead, 64 * (size_t)count);
  } else {
    qk_prefetch(ahead, 64 * (size_t)count);
  }
  const uint8_t *soon = first + 384 + at % 64 / 4 * row_bytes;
  QK_UNROLL for (int r = 0; r < count; r++) { qk_prefetch_near(soon + (size_t)r * row_bytes, 1); }
}

// The next bytes (a multiple of 4, at least 16) of 16 rows. Fetches as many from the next 16 rows on, into the first-level
// cache if these fit there, else into the second, and what comes soon of its own rows into the first; a few lines at a
// time, since a burst finds all buffers taken. 16 streams of rows without that reach half the speed.
QK_INLINE QK_AVX512 void qk_turn(const uint8_t *first, const uint8_t *ahead, size_t row_bytes,
                                 size_t bytes, __m512i *words) {
  const int is_near = row_bytes <= (24 << 10) / QK_GROUP;
  size_t next = 0;
  for (; next + 32 <= bytes; next += 32) {
    qk_prefetch_turn(first + next, ahead + QK_GROUP * next, row_bytes, next, 8, is_near);
    qk_turn32(first + next, row_bytes, words + next / 4);
  }
  for (; next < bytes; next += 16) {
    // The last 16 overlap what is done.
    const size_t i = next + 16 <= bytes ? next : bytes - 16;
    qk_prefetch_turn(first + i, ahead + QK_GROUP * i, row_bytes, i, 4, is_near);
    qk_turn16(first + i, row_bytes, words + i / 4);
  }
}

// The same of fewer rows, the others being zero, or of any number of bytes.
static __attribute__((noinline, unused)) QK_AVX512 void qk_turn_part(const uint8_t *first,
                                                                     size_t row_bytes, size_t count,
                                                                     size_t bytes, __m512i *words) {
  uint8_t padded[QK_GROUP][QK_MOST_UNIT];
  memset(padded, 0, sizeof padded);
  for (size_t r = 0; r < count; r++) { memcpy(padded[r], first + r * row_bytes, bytes); }
  qk_turn(padded[0], padded[0], QK_MOST_UNIT, (bytes + 15) / 16 * 16, words);
}

QK_INLINE QK_AVX512 __m512 qk_low_half16(__m512i word) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(word));
}

QK_INLINE QK_AVX512 __m512 qk_high_half16(__m512i word) {
  return qk_low_half16(_mm512_srli_epi32(word, 16));
}

#endif
#endif
