// Functions of one vector, or of two of the same length, with AVX2. What is left over is done as in
// the scalar twin.
#include "exp_avx2.h"
#include "simd.h"
#include "twins.h"

#if QK_X86

QK_AVX2 void qk_rms_norm_avx2(const float *x, const float *weight, float epsilon, float *y,
                              size_t count) {
  __m256 sum = _mm256_setzero_ps();
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 value = _mm256_loadu_ps(x + k);
    sum = _mm256_fmadd_ps(value, value, sum);
  }
  if (k < count) {
    const __m256 value = qk_load_part(QK_F32, (const uint8_t *)(x + k), count - k);
    sum = _mm256_fmadd_ps(value, value, sum);
  }
  const float factor = 1 / sqrtf(qk_sum8(sum) / (float)count + epsilon);
  const __m256 factors = _mm256_set1_ps(factor);
  for (k = 0; k + 8 <= count; k += 8) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + k), factors);
    _mm256_storeu_ps(y + k, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + k)));
  }
  for (; k < count; k++) {
    y[k] = x[k] * factor * weight[k];
  }
}

QK_AVX2 void qk_add_avx2(float *x, const float *y, size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    _mm256_storeu_ps(x + k, _mm256_add_ps(_mm256_loadu_ps(x + k), _mm256_loadu_ps(y + k)));
  }
  for (; k < count; k++) {
    x[k] += y[k];
  }
}

QK_AVX2 void qk_scale_avx2(float *x, float factor, size_t count) {
  const __m256 factors = _mm256_set1_ps(factor);
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    _mm256_storeu_ps(x + k, _mm256_mul_ps(_mm256_loadu_ps(x + k), factors));
  }
  for (; k < count; k++) {
    x[k] *= factor;
  }
}

QK_AVX2 void qk_silu_multiply_avx2(const float *gate, const float *up, float *out, size_t count) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 g = _mm256_loadu_ps(gate + k);
    const __m256 e = qk_exp8(_mm256_xor_ps(g, sign));
    const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1), e));
    _mm256_storeu_ps(out + k, _mm256_mul_ps(silu, _mm256_loadu_ps(up + k)));
  }
  for (; k < count; k++) {
    out[k] = gate[k] / (1 + qk_exp_scalar(-gate[k])) * up[k];
  }
}

QK_AVX2 void qk_rope_halves_avx2(float *x, const float *cosine, const float *sine, size_t half) {
  size_t j = 0;
  for (; j + 8 <= half; j += 8) {
    const __m256 a = _mm256_loadu_ps(x + j);
    const __m256 b = _mm256_loadu_ps(x + j + half);
    const __m256 c = _mm256_loadu_ps(cosine + j);
    const __m256 s = _mm256_loadu_ps(sine + j);
    _mm256_storeu_ps(x + j, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
    _mm256_storeu_ps(x + j + half, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
  }
  for (; j < half; j++) {
    const float a = x[j];
    const float b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}

QK_AVX2 void qk_rope_pairs_avx2(float *x, const float *cosine, const float *sine, size_t half) {
  size_t j = 0;
  for (; j + 4 <= half; j += 4) {
    // Even lanes a c - b s, odd lanes b c + a s.
    const __m256 both = _mm256_loadu_ps(x + 2 * j);
    const __m128 c = _mm_loadu_ps(cosine + j);
    const __m128 s = _mm_loadu_ps(sine + j);
    const __m256 cc = _mm256_set_m128(_mm_unpackhi_ps(c, c), _mm_unpacklo_ps(c, c));
    const __m256 ss = _mm256_set_m128(_mm_unpackhi_ps(s, s), _mm_unpacklo_ps(s, s));
    const __m256 swapped = _mm256_permute_ps(both, 0xb1);
    _mm256_storeu_ps(x + 2 * j,
                     _mm256_addsub_ps(_mm256_mul_ps(both, cc), _mm256_mul_ps(swapped, ss)));
  }
  for (; j < half; j++) {
    const float a = x[2 * j];
    const float b = x[2 * j + 1];
    x[2 * j] = a * cosine[j] - b * sine[j];
    x[2 * j + 1] = b * cosine[j] + a * sine[j];
  }
}

QK_AVX2 void qk_exp_avx2(const float *x, float *y, size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    _mm256_storeu_ps(y + k, qk_exp8(_mm256_loadu_ps(x + k)));
  }
  for (; k < count; k++) {
    y[k] = qk_exp_scalar(x[k]);
  }
}

#endif
