// Products of Q4_0, Q4_1 and Q8_0, in rows and interleaved, with AVX-512 VNNI (blocks_avx512.h).
#include "blocks_avx512.h"
#include "twins.h"

#if QK_X86

// Blocks of a row that are turned at once: 144 bytes, of Q4_1 80, of Q8_0 272.
QK_INLINE size_t unit_of(qk_format format) { return format == QK_Q4_1 ? 4 : 8; }

// Four words, or eight, to the codes of a block.
QK_INLINE QK_AVX512 void set_codes(qk_format format, const __m512i *words, qk_block16 *block) {
  const __m512i mask = _mm512_set1_epi8(15);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    if (format == QK_Q8_0) {
      block->q[g] = _mm512_xor_si512(words[g], _mm512_set1_epi8(-128));
    } else {
      const __m512i word = g < 4 ? words[g] : _mm512_srli_epi16(words[g - 4], 4);
      block->q[g] = _mm512_and_si512(word, mask);
    }
  }
}

QK_INLINE QK_AVX512 qk_block16 of_group(qk_format format, const uint8_t *source) {
  qk_block16 block;
  block.d = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)source));
  block.m = block.d;
  if (format == QK_Q4_1) {
    block.m = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(source + 32)));
    source += 32;
  }
  __m512i words[8];
  const int count = format == QK_Q8_0 ? 8 : 4;
  QK_UNROLL for (int w = 0; w < count; w++) {
    words[w] = _mm512_loadu_si512(source + 32 + 64 * (size_t)w);
  }
  set_codes(format, words, &block);
  return block;
}

// One of two neighbours in turned rows. Without a minimum, the first of two blocks lies two bytes off
// the words, behind its d, and the d of the second is the other half of the last of these words.
QK_INLINE QK_AVX512 qk_block16 of_words(qk_format format, const __m512i *words, int second) {
  const int count = format == QK_Q8_0 ? 8 : 4;
  qk_block16 block;
  if (format == QK_Q4_1) {
    words += second ? 5 : 0;
    block.d = qk_low_half16(words[0]);
    block.m = qk_high_half16(words[0]);
    set_codes(format, words + 1, &block);
    return block;
  }
  if (second) {
    block.d = block.m = qk_high_half16(words[count]);
    set_codes(format, words + count + 1, &block);
    return block;
  }
  block.d = block.m = qk_low_half16(words[0]);
  __m512i moved[8];
  QK_UNROLL for (int w = 0; w < count; w++) {
    moved[w] = _mm512_or_si512(_mm512_srli_epi32(words[w], 16), _mm512_slli_epi32(words[w + 1], 16));
  }
  set_codes(format, moved, &block);
  return block;
}

// Turns the blocks from start on of up to 16 rows; gives how many.
QK_INLINE QK_AVX512 size_t turn_unit(qk_format format, const uint8_t *first, const uint8_t *ahead,
                                     size_t row_bytes, size_t count, size_t start, size_t blocks,
                                     __m512i *words) {
  const size_t bytes = qk_block_bytes(format);
  const size_t unit = unit_of(format);
  const size_t filled = blocks - start < unit ? blocks - start : unit;
  if (filled * bytes % 4 == 0 && count == QK_GROUP) {
    qk_turn(first + start * bytes, ahead + QK_GROUP * start * bytes, row_bytes, filled * bytes,
            words);
  } else {
    qk_turn_part(first + start * bytes, row_bytes, count, filled * bytes, words);
  }
  return filled;
}

QK_INLINE QK_AVX512 void group_tile(const int tokens, qk_format format, const uint8_t *group,
                                    const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                                    size_t x_stride, __m512 *totals) {
  const size_t bytes = QK_GROUP * qk_block_bytes(format);
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch_near(ahead + b * bytes, bytes);
    const qk_block16 block = of_group(format, group + b * bytes);
    qk_add_block16(format, tokens, &block, x + b, x_stride, totals);
  }
}

QK_INLINE QK_AVX512 void words_tile(const int tokens, qk_format format, const __m512i *words,
                                    const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                                    size_t x_stride, __m512 *totals) {
  (void)ahead;
  for (size_t b = 0; b < blocks; b += 2, words += 2 * qk_block_bytes(format) / 4) {
    QK_UNROLL for (int second = 0; second < 2; second++) {
      if (second && b + 1 == blocks) break;
      const qk_block16 block = of_words(format, words, second);
      qk_add_block16(format, tokens, &block, x + b + second, x_stride, totals);
    }
  }
}

QK_TILES16(q4_0_group, group_tile, QK_Q4_0)
QK_TILES16(q4_1_group, group_tile, QK_Q4_1)
QK_TILES16(q8_0_group, group_tile, QK_Q8_0)
QK_TILES16(q4_0_words, words_tile, QK_Q4_0)
QK_TILES16(q4_1_words, words_tile, QK_Q4_1)
QK_TILES16(q8_0_words, words_tile, QK_Q8_0)

// Rows: turned a unit at a time.
QK_INLINE QK_AVX512 void rows_matmul(qk_format format, qk_tile16 *const tiles[QK_TILE],
                                     const uint8_t *weights, size_t row_bytes, size_t rows,
                                     size_t blocks, const qk_a8_block *x, size_t x_stride,
                                     size_t tokens, float *y, size_t y_stride) {
  // The next 16 rows, 8 KiB ahead at least.
  const size_t tile_bytes = QK_GROUP * row_bytes;
  const size_t distance = ((8 << 10) + tile_bytes - 1) / tile_bytes * tile_bytes;
  __m512i words[QK_MOST_UNIT / 4];
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    const uint8_t *first = weights + r * row_bytes;
    for (size_t start = 0; start < blocks; start += unit_of(format)) {
      const size_t filled = turn_unit(format, first, first + distance, row_bytes, count, start,
                                      blocks, words);
      qk_pass16(tiles, words, first, filled, x + start, x_stride, tokens, y + r, y_stride,
                start == 0, mask);
    }
  }
}

QK_INLINE QK_AVX512 void group_matmul(qk_format format, qk_tile16 *const tiles[QK_TILE],
                                      const uint8_t *weights, size_t row_bytes, size_t rows,
                                      size_t blocks, const qk_a8_block *x, size_t x_stride,
                                      size_t tokens, float *y, size_t y_stride) {
  qk_groups16(tiles, weights, row_bytes, rows, blocks, QK_GROUP * qk_block_bytes(format), 1, 1,
              x, x_stride, tokens, y, y_stride);
}

#define QK_MATMUL(name, body, format, tiles, rest)                                              \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,       \
                      const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,           \
                      size_t y_stride) {                                                        \
    if (columns < 32) {                                                                         \
      rest(weights, row_bytes, rows, 0, x, x_stride, tokens, y, y_stride);                      \
      return;                                                                                   \
    }                                                                                           \
    body(format, tiles, weights, row_bytes, rows, columns / 32, x, x_stride, tokens, y,         \
         y_stride);                                                                             \
  }

QK_MATMUL(qk_q4_0_matmul_a8_avx512, rows_matmul, QK_Q4_0, q4_0_words, qk_q4_0_matmul_a8_avx2)
QK_MATMUL(qk_q4_1_matmul_a8_avx512, rows_matmul, QK_Q4_1, q4_1_words, qk_q4_1_matmul_a8_avx2)
QK_MATMUL(qk_q8_0_matmul_a8_avx512, rows_matmul, QK_Q8_0, q8_0_words, qk_q8_0_matmul_a8_avx2)
QK_MATMUL(qk_q4_0x16_matmul_a8_avx512, group_matmul, QK_Q4_0, q4_0_group,
          qk_q4_0x16_matmul_a8_avx2)
QK_MATMUL(qk_q4_1x16_matmul_a8_avx512, group_matmul, QK_Q4_1, q4_1_group,
          qk_q4_1x16_matmul_a8_avx2)
QK_MATMUL(qk_q8_0x16_matmul_a8_avx512, group_matmul, QK_Q8_0, q8_0_group,
          qk_q8_0x16_matmul_a8_avx2)

#endif
