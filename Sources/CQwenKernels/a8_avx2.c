// Activations in 8 bits with AVX2.
#include "a8.h"
#include "simd.h"
#include "twins.h"

#if QK_X86

// round(x / scale) in -127 ... 127 as integers.
QK_INLINE QK_AVX2 __m256i quantize8(__m256 x, __m256 scale) {
  const __m256 limit = _mm256_set1_ps(127);
  __m256 value = _mm256_div_ps(x, scale);
  value = _mm256_max_ps(value, _mm256_set1_ps(-127));
  return _mm256_cvtps_epi32(_mm256_min_ps(value, limit));
}

QK_AVX2 void qk_a8_quantize_avx2(const float *x, qk_a8_block *blocks, size_t count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  for (size_t b = 0; b < count / 32; b++, x += 32) {
    qk_a8_block *block = blocks + b;
    __m256 v[4];
    QK_UNROLL for (int i = 0; i < 4; i++) { v[i] = _mm256_loadu_ps(x + 8 * i); }
    __m256i most = _mm256_and_si256(_mm256_castps_si256(v[0]), magnitude);
    QK_UNROLL for (int i = 1; i < 4; i++) {
      most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
    }
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    const uint32_t largest = (uint32_t)_mm_cvtsi128_si32(half);
    const float scale = qk_float_of(largest) / 127;
    block->scale = scale;
    if (largest >= 0x7f800000 || scale == 0) {
      memset(block->values, 0, 32);
      qk_a8_set_sums(block, 0, 0);
      continue;
    }
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256i a = quantize8(v[0], scales);
    const __m256i c = quantize8(v[1], scales);
    const __m256i d = quantize8(v[2], scales);
    const __m256i e = quantize8(v[3], scales);
    qk_a8_set_sums8(block, _mm256_add_epi32(a, c), _mm256_add_epi32(d, e));
    // Packing works within halves of vectors: the permutation restores the order.
    const __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(a, c), _mm256_packs_epi32(d, e));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)block->values, _mm256_permutevar8x32_epi32(bytes, order));
  }
}

#endif
