// Reductions over one row of logits with AVX2.
#include "vec_avx2.h"
#include "twins.h"

#if QK_X86

#include "exp_vec.h"

// The largest number and whether there is a NaN; -infinity for none.
QK_INLINE QK_AVX2 float maximum_of(const float *x, size_t count, int *has_nan) {
  __m256 most = _mm256_set1_ps(-INFINITY);
  __m256 nan = _mm256_setzero_ps();
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 v = _mm256_loadu_ps(x + k);
    // The second operand is the result where v is NaN.
    most = _mm256_max_ps(v, most);
    nan = _mm256_or_ps(nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
  float lanes[8];
  _mm256_storeu_ps(lanes, most);
  *has_nan = _mm256_movemask_ps(nan) != 0;
  float maximum = -INFINITY;
  for (size_t l = 0; l < 8; l++) {
    maximum = lanes[l] > maximum ? lanes[l] : maximum;
  }
  for (; k < count; k++) {
    *has_nan |= x[k] != x[k];
    maximum = x[k] > maximum ? x[k] : maximum;
  }
  return maximum;
}

// The maximum first, then the first place that holds it: 0.0 and -0.0 are equal, as in the scalar
// twin.
QK_AVX2 int64_t qk_argmax_avx2(const float *x, size_t count) {
  int has_nan;
  const float maximum = maximum_of(x, count, &has_nan);
  const __m256 wanted = _mm256_set1_ps(maximum);
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const int found =
        _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + k), wanted, _CMP_EQ_OQ));
    if (found != 0) {
      return (int64_t)k + __builtin_ctz((unsigned)found);
    }
  }
  for (; k < count; k++) {
    if (x[k] == maximum) {
      return (int64_t)k;
    }
  }
  return -1;
}

QK_AVX2 double qk_log_sum_exp_avx2(const float *x, size_t count) {
  int has_nan;
  const float maximum = maximum_of(x, count, &has_nan);
  if (has_nan) {
    return (double)NAN;
  }
  if (isinf(maximum)) {
    return (double)maximum;
  }
  const __m256 maxima = _mm256_set1_ps(maximum);
  __m256d low = _mm256_setzero_pd();
  __m256d high = _mm256_setzero_pd();
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 e = vec_exp(_mm256_sub_ps(_mm256_loadu_ps(x + k), maxima));
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
  }
  double lanes[8];
  _mm256_storeu_pd(lanes, low);
  _mm256_storeu_pd(lanes + 4, high);
  for (; k < count; k++) {
    lanes[k % 8] += (double)qk_exp_scalar(x[k] - maximum);
  }
  const double a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const double b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return (double)maximum + log(a + b);
}

QK_AVX2 int32_t qk_all_finite_avx2(const float *x, size_t count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256i bits = _mm256_loadu_si256((const __m256i *)(x + k));
    most = _mm256_max_epi32(most, _mm256_and_si256(bits, magnitude));
  }
  const __m256i over = _mm256_cmpgt_epi32(most, _mm256_set1_epi32(0x7f7fffff));
  int32_t finite = _mm256_movemask_epi8(over) == 0;
  for (; k < count; k++) {
    finite &= (qk_bits_of(x[k]) & 0x7fffffff) < 0x7f800000;
  }
  return finite;
}

#endif
