// Products of interleaved blocks of 256 that have the 12 bytes of scales6.h with AVX-512 VNNI (blocks_avx512.h): a block is 8
// parts, which unpacked are blocks of Q4_1.
//
// A block is a head of 4 words, with fifth bits 8 words of them, bit p those of part p, then 32 words of 4-bit codes.
#ifndef QK_SCALES6_AVX512_H
#define QK_SCALES6_AVX512_H

#include "blocks_avx512.h"
#include "twins.h"

#if QK_X86

enum { QK_PARTS6 = 8, QK_TURNS6 = 4 };

// Bytes of a block of 16 rows; has_fifth is known when compiled.
QK_INLINE size_t qk_bytes6(int has_fifth) { return QK_GROUP * (has_fifth ? 176 : 144); }

typedef struct {
  __m512i w[4];
  __m512 d, m;
  __m512i fifth[8];
} qk_head6;

// Scales and minima become a byte each, as in scales6.h.
QK_INLINE QK_AVX512 qk_head6 qk_head6_of(const uint8_t *block) {
  const __m512i six = _mm512_set1_epi8(63);
  const __m512i four = _mm512_set1_epi8(15);
  const __m512i two = _mm512_set1_epi8(48);
  __m512i w[4];
  QK_UNROLL for (int i = 0; i < 4; i++) { w[i] = _mm512_loadu_si512(block + 64 * (size_t)i); }
  qk_head6 head;
  head.d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(w[0]));
  head.m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(w[0], 16)));
  head.m = _mm512_xor_ps(head.m, _mm512_set1_ps(-0.0f));
  head.w[0] = _mm512_and_si512(w[1], six);
  head.w[1] = _mm512_or_si512(_mm512_and_si512(w[3], four),
                              _mm512_and_si512(_mm512_srli_epi16(w[1], 2), two));
  head.w[2] = _mm512_and_si512(w[2], six);
  head.w[3] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(w[3], 4), four),
                              _mm512_and_si512(_mm512_srli_epi16(w[2], 2), two));
  return head;
}

// Byte i of each word.
QK_INLINE QK_AVX512 __m512i qk_byte16(__m512i words, int i) {
  if (i == 0) {
    return _mm512_and_si512(words, _mm512_set1_epi32(255));
  }
  if (i == 3) {
    return _mm512_srli_epi32(words, 24);
  }
  const int none = -256;
  return _mm512_shuffle_epi8(
      words, _mm512_broadcast_i32x4(
                 _mm_setr_epi32(none | i, none | (i + 4), none | (i + 8), none | (i + 12))));
}

// d and m of a part.
QK_INLINE QK_AVX512 void qk_set_scales6(const qk_head6 *head, int part, __m512 *d, __m512 *m) {
  const __m512i scale = qk_byte16(head->w[part / 4], part % 4);
  const __m512i minimum = qk_byte16(head->w[2 + part / 4], part % 4);
  *d = _mm512_mul_ps(head->d, _mm512_cvtepi32_ps(scale));
  *m = _mm512_mul_ps(head->m, _mm512_cvtepi32_ps(minimum));
}

QK_INLINE QK_AVX512 __m512i qk_fifth6(const uint8_t *block, int g) {
  return _mm512_loadu_si512(block + 64 * (size_t)(4 + g));
}

// The words of fifth bits, to stay in registers. So all lines of a block are read one behind the other, without which one
// token reads a fifth slower; for more than two there are too few registers.
QK_INLINE QK_AVX512 void qk_hold_fifth6(const uint8_t *block, qk_head6 *head) {
  QK_UNROLL for (int g = 0; g < 8; g++) {
    head->fifth[g] = qk_fifth6(block, g);
    __asm__("" : "+v"(head->fifth[g]));
  }
}

QK_INLINE QK_AVX512 __m512i qk_word6(int has_fifth, int is_held, const uint8_t *block,
                                     const qk_head6 *head, int part, int g) {
  const uint8_t *codes = block + 64 * (has_fifth ? 12 : 4);
  const __m512i q = _mm512_loadu_si512(codes + 64 * (size_t)(part / 2 * 8 + g));
  const __m512i low = part % 2 == 0 ? q : _mm512_srli_epi16(q, 4);
  if (!has_fifth) {
    return _mm512_and_si512(low, _mm512_set1_epi8(15));
  }
  const __m512i fifth = is_held ? head->fifth[g] : qk_fifth6(block, g);
  const __m512i high = part < 4   ? _mm512_slli_epi16(fifth, (unsigned)(4 - part) % 8)
                       : part > 4 ? _mm512_srli_epi16(fifth, (unsigned)(part - 4) % 8)
                                  : fifth;
  // Where the mask is set the code, elsewhere the bits above it.
  const __m512i both = _mm512_ternarylogic_epi32(_mm512_set1_epi8(15), low, high, 0xca);
  return _mm512_and_si512(both, _mm512_set1_epi8(31));
}

QK_INLINE QK_AVX512 qk_block16 qk_part6(int has_fifth, int is_held, const uint8_t *block,
                                        const qk_head6 *head, int part) {
  qk_block16 unpacked;
  qk_set_scales6(head, part, &unpacked.d, &unpacked.m);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    unpacked.q[g] = qk_word6(has_fifth, is_held, block, head, part, g);
  }
  return unpacked;
}

QK_INLINE QK_AVX512 void qk_tile6(const int tokens, const int has_fifth, const uint8_t *group,
                                  const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                                  size_t x_stride, __m512 *totals) {
  const size_t bytes = qk_bytes6(has_fifth);
  for (size_t b = 0; b < blocks; b++, group += bytes, ahead += bytes) {
    qk_head6 head = qk_head6_of(group);
    const int is_held = has_fifth && tokens <= 2;
    if (is_held) qk_hold_fifth6(group, &head);
    QK_UNROLL for (int p = 0; p < QK_PARTS6; p++, x++) {
      const size_t share = bytes / QK_PARTS6;
      qk_prefetch_lines(ahead, (size_t)p * share, ((size_t)p + 1) * share);
      const qk_block16 part = qk_part6(has_fifth, is_held, group, &head, p);
      qk_add_block16(QK_Q4_1, tokens, &part, x, x_stride, totals);
    }
  }
}

// One token, in a loop by itself: as calls of a tile, or as a branch of the loop over many tokens, it reads 3 to 8 % slower.
QK_INLINE QK_AVX512 void qk_one_token6(int has_fifth, const uint8_t *group, size_t rows,
                                       size_t blocks, const qk_a8_block *x, float *y) {
  for (size_t r = 0; r < rows; r += QK_GROUP, group += qk_bytes6(has_fifth) * blocks) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    __m512 total = _mm512_setzero_ps();
    qk_tile6(1, has_fifth, group, group + QK_AHEAD, blocks, x, 0, &total);
    _mm512_mask_storeu_ps(y + r, (__mmask16)((1u << count) - 1), total);
  }
}

QK_INLINE QK_AVX512 void qk_matmul6(int has_fifth, qk_tile16 *const tiles[QK_TILE],
                                    const void *weights, size_t row_bytes, size_t rows,
                                    size_t blocks, const qk_a8_block *x, size_t x_stride,
                                    size_t tokens, float *y, size_t y_stride) {
  if (blocks == 0) {
    for (size_t t = 0; t < tokens; t++) { memset(y + t * y_stride, 0, rows * sizeof *y); }
  } else if (tokens == 1) {
    qk_one_token6(has_fifth, weights, rows, blocks, x, y);
  } else {
    qk_groups16(tiles, weights, row_bytes, rows, blocks, qk_bytes6(has_fifth), QK_PARTS6, QK_TURNS6,
                x, x_stride, tokens, y, y_stride);
  }
}

// The product `name`.
#define QK_SCALES6_MATMUL(name, has_fifth)                                                      \
  QK_TILES16(tiles, qk_tile6, has_fifth)                                                        \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,       \
                      const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,           \
                      size_t y_stride) {                                                        \
    qk_matmul6(has_fifth, tiles, weights, row_bytes, rows, columns / 256, x, x_stride, tokens,  \
               y, y_stride);                                                                    \
  }

#endif
#endif
