// Products of interleaved Q4_K with AVX-512 VNNI (blocks_avx512.h): a block is 8 parts, which unpacked are blocks of
// Q4_1.
#include "blocks_avx512.h"
#include "twins.h"

#if QK_X86

enum { PARTS = 8, BYTES = QK_GROUP * 144, TURNS = 4 };

typedef struct {
  __m512i w[4];
  __m512 d, m;
} head16;

// Scales and minima become a byte each, as in scales6.h.
QK_INLINE QK_AVX512 head16 head_of(const uint8_t *block) {
  const __m512i six = _mm512_set1_epi8(63);
  const __m512i four = _mm512_set1_epi8(15);
  const __m512i two = _mm512_set1_epi8(48);
  __m512i w[4];
  QK_UNROLL for (int i = 0; i < 4; i++) { w[i] = _mm512_loadu_si512(block + 64 * (size_t)i); }
  head16 head;
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
QK_INLINE QK_AVX512 __m512i byte16(__m512i words, int i) {
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
QK_INLINE QK_AVX512 void set_scales(const head16 *head, int part, __m512 *d, __m512 *m) {
  const __m512i scale = byte16(head->w[part / 4], part % 4);
  const __m512i minimum = byte16(head->w[2 + part / 4], part % 4);
  *d = _mm512_mul_ps(head->d, _mm512_cvtepi32_ps(scale));
  *m = _mm512_mul_ps(head->m, _mm512_cvtepi32_ps(minimum));
}

QK_INLINE QK_AVX512 __m512i word_of(const uint8_t *block, int part, int g) {
  const __m512i q = _mm512_loadu_si512(block + 64 * (size_t)(4 + part / 2 * 8 + g));
  const __m512i low = part % 2 == 0 ? q : _mm512_srli_epi16(q, 4);
  return _mm512_and_si512(low, _mm512_set1_epi8(15));
}

QK_INLINE QK_AVX512 qk_block16 part_of(const uint8_t *block, const head16 *head, int part) {
  qk_block16 unpacked;
  set_scales(head, part, &unpacked.d, &unpacked.m);
  QK_UNROLL for (int g = 0; g < 8; g++) { unpacked.q[g] = word_of(block, part, g); }
  return unpacked;
}

QK_INLINE QK_AVX512 void k_tile(const int tokens, const int share, const uint8_t *group,
                                const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                                size_t x_stride, __m512 *totals) {
  for (size_t b = 0; b < blocks; b++, group += BYTES, ahead += BYTES) {
    const head16 head = head_of(group);
    QK_UNROLL for (int p = 0; p < PARTS; p++, x++) {
      qk_prefetch_lines(ahead, (size_t)p * share, ((size_t)p + 1) * share);
      const qk_block16 part = part_of(group, &head, p);
      qk_add_block16(QK_Q4_1, tokens, &part, x, x_stride, totals);
    }
  }
}

QK_TILES16(tiles, k_tile, BYTES / PARTS)

// One token, in a loop by itself: as calls of a tile, or as a branch of the loop over many tokens, it reads 3 to 8 % slower.
QK_INLINE QK_AVX512 void one_token(const uint8_t *group, size_t rows, size_t blocks,
                                   const qk_a8_block *x, float *y) {
  for (size_t r = 0; r < rows; r += QK_GROUP, group += BYTES * blocks) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    __m512 total = _mm512_setzero_ps();
    k_tile(1, BYTES / PARTS, group, group + QK_AHEAD, blocks, x, 0, &total);
    _mm512_mask_storeu_ps(y + r, (__mmask16)((1u << count) - 1), total);
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
  if (tokens == 1) {
    one_token(weights, rows, blocks, x, y);
    return;
  }
  qk_groups16(tiles, weights, row_bytes, rows, blocks, BYTES, PARTS, TURNS, x, x_stride, tokens, y,
              y_stride);
}

#endif
