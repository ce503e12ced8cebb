// What a block of activations says of its values.
#ifndef QK_A8_H
#define QK_A8_H

#include "isa.h"

// Sets the sums of a block, whose scale is set, from those of its halves.
QK_INLINE void qk_a8_set_sums(qk_a8_block *block, int32_t first, int32_t last) {
  block->halves[0] = (int16_t)first;
  block->halves[1] = (int16_t)last;
  block->sum = first + last;
  block->scaled_sum = block->scale * (float)block->sum;
}

#if QK_X86
// The sums of the lanes of two vectors.
QK_INLINE QK_AVX2 void qk_a8_set_sums8(qk_a8_block *block, __m256i first, __m256i last) {
  const __m256i pairs = _mm256_hadd_epi32(first, last);
  __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
  qk_a8_set_sums(block, _mm_cvtsi128_si32(sums), _mm_extract_epi32(sums, 2));
}
#endif

#endif
