// Products of interleaved Q4_K with AVX-512 VNNI (blocks_avx512.h): a block is 8 parts, which unpacked are blocks of
// Q4_1.
#include "blocks_avx512.h"
#include "twins.h"

#if QK_X86

enum { PARTS = 8, BYTES = QK_GROUP * 144, RUN = 2 };

typedef struct {
  __m512i w[4];
  __m512 d, m;
} head16;

QK_INLINE QK_AVX512 head16 head_of(const uint8_t *block) {
  head16 head;
  QK_UNROLL for (int w = 0; w < 4; w++) { head.w[w] = _mm512_loadu_si512(block + 64 * (size_t)w); }
  head.d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(head.w[0]));
  head.m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(head.w[0], 16)));
  head.m = _mm512_xor_ps(head.m, _mm512_set1_ps(-0.0f));
  return head;
}

// d and m of a part, from 6 bits each (scales6.h).
QK_INLINE QK_AVX512 void set_scales(const head16 *head, int part, __m512 *d, __m512 *m) {
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

QK_INLINE QK_AVX512 void k_tile(const int tokens, int is_group, const uint8_t *group,
                                const uint8_t *ahead, size_t blocks, const qk_a8_block *x,
                                size_t x_stride, __m512 *totals) {
  for (size_t b = 0; b < blocks; b++, group += BYTES, ahead += BYTES) {
    const head16 head = head_of(group);
    QK_UNROLL for (int p = 0; p < PARTS; p++, x++) {
      if (is_group) qk_prefetch_near(ahead + (size_t)p * (BYTES / PARTS), BYTES / PARTS);
      const qk_block16 part = part_of(group, &head, p);
      qk_add_block16(QK_Q4_1, tokens, &part, x, x_stride, totals);
    }
  }
}

QK_TILES16(tiles, k_tile, 1)

QK_AVX512 void qk_q4_kx16_matmul_a8_avx512(const void *weights, size_t row_bytes, size_t rows,
                                           size_t columns, const qk_a8_block *x, size_t x_stride,
                                           size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 256;
  if (blocks == 0) {
    qk_q4_kx16_matmul_a8_avx2(weights, row_bytes, rows, 0, x, x_stride, tokens, y, y_stride);
    return;
  }
  const size_t run = tokens <= QK_TILE ? blocks : RUN;
  for (size_t r = 0; r < rows; r += QK_GROUP) {
    const size_t count = rows - r < QK_GROUP ? rows - r : QK_GROUP;
    const __mmask16 mask = (__mmask16)((1u << count) - 1);
    for (size_t start = 0; start < blocks; start += run) {
      const size_t filled = blocks - start < run ? blocks - start : run;
      const uint8_t *group = (const uint8_t *)weights + r * row_bytes + start * BYTES;
      qk_pass16(tiles, group, group + 2 * QK_AHEAD, filled, x + start * PARTS, x_stride, tokens, y + r,
                y_stride, start == 0, mask);
    }
  }
}

#endif
