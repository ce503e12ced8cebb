// Parts of 8 rows side by side, as the AVX2 and AVX-512 twins see them.
#ifndef QK_PARTS8_H
#define QK_PARTS8_H

#include "parts.h"
#include "panel.h"

#if QK_X86

// What a format reads once for a block of 8 rows: each fills and reads what it likes.
typedef struct {
  __m256 d, m;
  __m256i w[8];
} qk_head8;

// Vector g of q holds, for each of 8 rows, the codes 4g ... 4g + 3.
typedef struct {
  __m256i q[8];
  __m256i low[8]; // of wide codes: the lower byte
  __m256 d, m;
  __m256i zero;
  __m256i s[2], o[2];
} qk_part8;

typedef void qk_head_of8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head);
typedef void qk_unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                        const qk_head8 *head, qk_part8 *out);

// 4 bytes of each row at this offset.
QK_INLINE QK_AVX2 __m256i qk_words8(const uint8_t *const row[8], size_t offset) {
  int32_t w[8];
  QK_UNROLL for (int r = 0; r < 8; r++) { memcpy(w + r, row[r] + offset, 4); }
  return _mm256_setr_epi32(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
}

// The floats of each row at this offset.
QK_INLINE QK_AVX2 __m256 qk_floats8(const uint8_t *const row[8], size_t offset) {
  return _mm256_castsi256_ps(qk_words8(row, offset));
}

// The half-precision numbers in the lower halves of 8 words.
QK_INLINE QK_AVX2 __m256 qk_low_halves(__m256i words) {
  const __m256i low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_packus_epi32(low, low);
  const __m256i order = _mm256_permute4x64_epi64(packed, 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(order));
}

QK_INLINE QK_AVX2 __m256 qk_high_halves(__m256i words) {
  return qk_low_halves(_mm256_srli_epi32(words, 16));
}

// 16 bytes a row of two 4-bit codes, as qk_nibbles.
QK_INLINE QK_AVX2 void qk_nibbles8(const uint8_t *const row[8], size_t offset, __m256i q[8]) {
  __m256i packed[4];
  qk_transpose16(row, offset, packed);
  const __m256i mask = _mm256_set1_epi8(15);
  QK_UNROLL for (int g = 0; g < 4; g++) {
    q[g] = _mm256_and_si256(packed[g], mask);
    q[g + 4] = _mm256_and_si256(_mm256_srli_epi16(packed[g], 4), mask);
  }
}

// 32 bytes a row.
QK_INLINE QK_AVX2 void qk_bytes8(const uint8_t *const row[8], size_t offset, __m256i q[8]) {
  qk_transpose16(row, offset, q);
  qk_transpose16(row, offset + 16, q + 4);
}

// Bit 4g + j of each row's word as `value` in byte j.
QK_INLINE QK_AVX2 __m256i qk_bits8(__m256i words, int g, uint8_t value) {
  const int byte = g / 2;
  const int line = byte * 0x01010101;
  const __m256i spread = _mm256_shuffle_epi8(
      words, _mm256_setr_epi32(line, line + 0x04040404, line + 0x08080808, line + 0x0c0c0c0c, line,
                               line + 0x04040404, line + 0x08080808, line + 0x0c0c0c0c));
  const __m256i bits = _mm256_set1_epi32(g % 2 == 0 ? 0x08040201 : (int)0x80402010);
  const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits);
  return _mm256_and_si256(is_set, _mm256_set1_epi8((char)value));
}

// Sums of the first and of the last 16 activations.
typedef struct {
  int32_t first, last;
} qk_half_sums;

QK_INLINE QK_AVX2 qk_half_sums qk_sums_of(const qk_a8_block *x) {
  const __m128i bytes = _mm_loadu_si128((const __m128i *)x->values);
  const __m128i lifted = _mm_xor_si128(bytes, _mm_set1_epi8(-128));
  const __m128i sums = _mm_sad_epu8(lifted, _mm_setzero_si128());
  const int32_t first =
      _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4) - 16 * 128;
  return (qk_half_sums){first, x->sum - first};
}

#endif
#endif
