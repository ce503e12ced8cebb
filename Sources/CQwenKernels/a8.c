#include "internal.h"

static void quantize_scalar(const float *x, qk_a8_block *block) {
  float most = 0;
  int finite = 1;
  for (int k = 0; k < QK_BLOCK; k++) {
    finite &= isfinite(x[k]) != 0;
    most = fmaxf(most, fabsf(x[k]));
  }
  float scale = finite ? most / 127 : NAN;
  // The smallest scales have no inverse; their block counts as zeros.
  float inverse = finite && scale >= 0x1p-126f ? 1 / scale : 0;
  int32_t sum = 0;
  for (int k = 0; k < QK_BLOCK; k++) {
    int32_t value = inverse == 0 ? 0 : (int32_t)rintf(x[k] * inverse);
    value = value > 127 ? 127 : value < -127 ? -127 : value;
    block->values[k] = (int8_t)value;
    sum += value;
  }
  block->scale = scale;
  block->sum = sum;
}

#if QK_X86
QK_AVX2 static void quantize_avx2(const float *x, qk_a8_block *block) {
  __m256 sign = _mm256_set1_ps(-0.0f), v[4];
  for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
  __m256 most = _mm256_andnot_ps(sign, v[0]);
  // 0 * x is not 0 exactly where x is not finite.
  __m256 zeros = _mm256_mul_ps(v[0], _mm256_setzero_ps());
  for (int i = 1; i < 4; i++) {
    most = _mm256_max_ps(most, _mm256_andnot_ps(sign, v[i]));
    zeros = _mm256_add_ps(zeros, _mm256_mul_ps(v[i], _mm256_setzero_ps()));
  }
  if (_mm256_movemask_ps(_mm256_cmp_ps(zeros, zeros, _CMP_UNORD_Q))) {
    quantize_scalar(x, block);
    return;
  }
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  float scale = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four))) / 127;
  __m256 inverse = _mm256_set1_ps(scale >= 0x1p-126f ? 1 / scale : 0);
  __m256i low = _mm256_set1_epi32(-127), high = _mm256_set1_epi32(127), total = _mm256_setzero_si256();
  __m256i q[4];
  for (int i = 0; i < 4; i++) {
    q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
    q[i] = _mm256_min_epi32(_mm256_max_epi32(q[i], low), high);
    total = _mm256_add_epi32(total, q[i]);
  }
  __m256i words0 = _mm256_packs_epi32(q[0], q[1]), words1 = _mm256_packs_epi32(q[2], q[3]);
  __m256i bytes = _mm256_packs_epi16(words0, words1);
  bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256((__m256i *)block->values, bytes);
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
  block->scale = scale;
  block->sum = _mm_cvtsi128_si32(sum);
}
#endif

void qk_a8_quantize(const float *x, qk_a8_block *blocks, size_t count) {
  size_t n = count / QK_BLOCK;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) {
    for (size_t b = 0; b < n; b++) quantize_avx2(x + b * QK_BLOCK, blocks + b);
    return;
  }
#endif
  for (size_t b = 0; b < n; b++) quantize_scalar(x + b * QK_BLOCK, blocks + b);
}
