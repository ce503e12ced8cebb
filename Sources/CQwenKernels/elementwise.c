#include "internal.h"

void qk_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
  float lanes[QK_LANES] = {0};
  size_t k = 0;
  for (; k + QK_LANES <= count; k += QK_LANES)
    for (int l = 0; l < QK_LANES; l++) lanes[l] += x[k + l] * x[k + l];
  for (; k < count; k++) lanes[k % QK_LANES] += x[k] * x[k];
  float factor = 1 / sqrtf(qk_sum_lanes(lanes) / (float)count + epsilon);
  for (k = 0; k < count; k++) y[k] = x[k] * factor * weight[k];
}

void qk_add(float *x, const float *y, size_t count) {
  for (size_t k = 0; k < count; k++) x[k] += y[k];
}

void qk_scale(float *x, float factor, size_t count) {
  for (size_t k = 0; k < count; k++) x[k] *= factor;
}

void qk_rope_halves(float *x, const float *cosine, const float *sine, size_t half) {
  for (size_t j = 0; j < half; j++) {
    float a = x[j], b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}

void qk_rope_pairs(float *x, const float *cosine, const float *sine, size_t half) {
  for (size_t j = 0; j < half; j++) {
    float a = x[2 * j], b = x[2 * j + 1];
    x[2 * j] = a * cosine[j] - b * sine[j];
    x[2 * j + 1] = b * cosine[j] + a * sine[j];
  }
}

#if QK_X86
QK_AVX2 static size_t exp_avx2(const float *x, float *y, size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8) _mm256_storeu_ps(y + k, qk_exp_avx2(_mm256_loadu_ps(x + k)));
  return k;
}

QK_AVX2 static size_t silu_avx2(const float *gate, const float *up, float *out, size_t count) {
  size_t k = 0;
  __m256 one = _mm256_set1_ps(1), sign = _mm256_set1_ps(-0.0f);
  for (; k + 8 <= count; k += 8) {
    __m256 g = _mm256_loadu_ps(gate + k), e = qk_exp_avx2(_mm256_xor_ps(g, sign));
    __m256 s = _mm256_div_ps(g, _mm256_add_ps(one, e));
    _mm256_storeu_ps(out + k, _mm256_mul_ps(s, _mm256_loadu_ps(up + k)));
  }
  return k;
}
#endif

void qk_exp(const float *x, float *y, size_t count) {
  size_t k = 0;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) k = exp_avx2(x, y, count);
#endif
  for (; k < count; k++) y[k] = qk_exp_scalar(x[k]);
}

void qk_silu_multiply(const float *gate, const float *up, float *out, size_t count) {
  size_t k = 0;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) k = silu_avx2(gate, up, out, count);
#endif
  for (; k < count; k++) out[k] = gate[k] / (1 + qk_exp_scalar(-gate[k])) * up[k];
}

int64_t qk_argmax(const float *x, size_t count) {
  int64_t best = -1;
  for (size_t k = 0; k < count; k++)
    if (x[k] == x[k] && (best < 0 || x[k] > x[best])) best = (int64_t)k;
  return best;
}

double qk_log_sum_exp(const float *x, size_t count) {
  int64_t best = qk_argmax(x, count);
  if (best < 0) return count == 0 ? -INFINITY : NAN;
  float most = x[best];
  if (isinf(most)) return most;
  double lanes[QK_LANES] = {0};
  float part[QK_LANES * 8];
  for (size_t start = 0; start < count; start += QK_LANES * 8) {
    size_t n = count - start < QK_LANES * 8 ? count - start : QK_LANES * 8;
    for (size_t k = 0; k < n; k++) part[k] = x[start + k] - most;
    qk_exp(part, part, n);
    for (size_t k = 0; k < n; k++) lanes[k % QK_LANES] += part[k];
  }
  double sum = 0;
  for (int l = 0; l < QK_LANES; l++) sum += lanes[l];
  return most + log(sum);
}

int32_t qk_all_finite(const float *x, size_t count) {
  int32_t finite = 1;
  for (size_t k = 0; k < count; k++) finite &= (qk_to_bits(x[k]) & 0x7F800000) != 0x7F800000;
  return finite;
}
