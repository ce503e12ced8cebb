// Shared by the kernels: conversions, the documented sum shape, the exponential's constants.
#ifndef QK_INTERNAL_H
#define QK_INTERNAL_H

#include "CQwenKernels.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#define QK_X86 1
#include <immintrin.h>
#define QK_AVX2 __attribute__((target("avx2,fma,f16c")))
// Tiles are compiled once for each constant size.
#define QK_AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))
#endif

// Lanes of one sum. Lane l adds k = l, l + 8, ... in rising order.
enum { QK_LANES = 8, QK_BLOCK = 32 };

// The lanes pairwise: l with l + 4, then with l + 2, then with l + 1.
static inline float qk_sum_lanes(const float *l) {
  return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
}

static inline uint16_t qk_load_u16(const void *source) {
  uint16_t value;
  memcpy(&value, source, sizeof value);
  return value;
}

static inline float qk_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t qk_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// IEEE half to float, exactly; signalling NaN becomes quiet as the processor does it.
static inline float qk_half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31)
    return qk_from_bits(sign | 0x7F800000 | fraction << 13 | (fraction ? 0x400000 : 0));
  if (exponent == 0) {
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
  }
  return qk_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

// Float to IEEE half, to nearest, ties to even.
static inline uint16_t qk_float_to_half(float value) {
  uint32_t bits = qk_to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x1FF));
  if (magnitude >= 0x47800000) return (uint16_t)(sign | 0x7C00);
  if (magnitude < 0x38800000) {
    // Below the normal range the sum with 0.5 rounds at the place of half's last bit.
    float shifted = qk_from_bits(magnitude) + 0.5f;
    return (uint16_t)(sign | (qk_to_bits(shifted) - 0x3F000000));
  }
  uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1) - 0x38000000;
  return (uint16_t)(sign | (rounded >= 0x0F800000 ? 0x7C00 : rounded >> 13));
}

// exp(x) = 2^n * p(r), n = round(x / ln 2), r = x - n ln 2 in two steps, p the Taylor polynomial of degree 7:
// |r| <= ln 2 / 2 leaves less than 6e-9. 2^n is applied in two halves, so the subnormal range is right.
#define QK_EXP_LOW -104.0f
#define QK_EXP_HIGH 88.72284f
#define QK_LOG2E 1.44269504088896341f
#define QK_LN2_HIGH 0.693359375f
#define QK_LN2_LOW -2.12194440e-4f
#define QK_EXP_C7 (1.0f / 5040)
#define QK_EXP_C6 (1.0f / 720)
#define QK_EXP_C5 (1.0f / 120)
#define QK_EXP_C4 (1.0f / 24)
#define QK_EXP_C3 (1.0f / 6)
#define QK_EXP_C2 0.5f

static inline float qk_exp_scalar(float x) {
  if (!(x >= QK_EXP_LOW)) return x < QK_EXP_LOW ? 0.0f : x;
  if (x > QK_EXP_HIGH) return INFINITY;
  float n = rintf(x * QK_LOG2E);
  float r = fmaf(n, -QK_LN2_LOW, fmaf(n, -QK_LN2_HIGH, x));
  float p = fmaf(QK_EXP_C7, r, QK_EXP_C6);
  p = fmaf(p, r, QK_EXP_C5);
  p = fmaf(p, r, QK_EXP_C4);
  p = fmaf(p, r, QK_EXP_C3);
  p = fmaf(p, r, QK_EXP_C2);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  int32_t whole = (int32_t)n, half = whole >> 1;
  return p * qk_from_bits((uint32_t)(half + 127) << 23)
      * qk_from_bits((uint32_t)(whole - half + 127) << 23);
}

#if QK_X86
QK_AVX2_INLINE float qk_sum_avx2(__m256 lanes) {
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Mask of the first count lanes, count in 0...8.
QK_AVX2_INLINE __m256i qk_mask_avx2(size_t count) {
  return _mm256_cmpgt_epi32(
      _mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

QK_AVX2_INLINE __m256 qk_exp_avx2(__m256 x) {
  __m256 low = _mm256_set1_ps(QK_EXP_LOW), high = _mm256_set1_ps(QK_EXP_HIGH);
  __m256 in = _mm256_min_ps(_mm256_max_ps(x, low), high);
  __m256 n = _mm256_round_ps(_mm256_mul_ps(in, _mm256_set1_ps(QK_LOG2E)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-QK_LN2_HIGH), in);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-QK_LN2_LOW), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(QK_EXP_C7), r, _mm256_set1_ps(QK_EXP_C6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C5));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C4));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C3));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QK_EXP_C2));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
  __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
  __m256i bias = _mm256_set1_epi32(127);
  __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  p = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
  p = _mm256_blendv_ps(p, _mm256_setzero_ps(), _mm256_cmp_ps(x, low, _CMP_LT_OQ));
  p = _mm256_blendv_ps(p, _mm256_set1_ps(INFINITY), _mm256_cmp_ps(x, high, _CMP_GT_OQ));
  return _mm256_blendv_ps(p, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
#endif

#endif
