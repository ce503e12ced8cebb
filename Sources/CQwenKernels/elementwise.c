// Functions of one vector, or of two of the same length.
#include "exp.h"
#include "lanes.h"
#include "twins.h"

// The sum of squares has the shape of a product with itself.
void qk_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_rms_norm_avx2(x, weight, epsilon, y, count);
    return;
  }
#endif
  const float squares = qk_dot_scalar(qk_load_f32, (const uint8_t *)x, x, count);
  const float factor = 1 / sqrtf(squares / (float)count + epsilon);
  for (size_t k = 0; k < count; k++) {
    y[k] = x[k] * factor * weight[k];
  }
}

void qk_add(float *x, const float *y, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_add_avx2(x, y, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    x[k] += y[k];
  }
}

void qk_scale(float *x, float factor, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_scale_avx2(x, factor, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    x[k] *= factor;
  }
}

void qk_silu_multiply(const float *gate, const float *up, float *out, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX512) {
    qk_silu_multiply_avx512(gate, up, out, count);
    return;
  }
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_silu_multiply_avx2(gate, up, out, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    out[k] = gate[k] / (1 + qk_exp_scalar(-gate[k])) * up[k];
  }
}

void qk_rope_halves(float *x, const float *cosine, const float *sine, size_t half) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_rope_halves_avx2(x, cosine, sine, half);
    return;
  }
#endif
  for (size_t j = 0; j < half; j++) {
    const float a = x[j];
    const float b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}

void qk_rope_pairs(float *x, const float *cosine, const float *sine, size_t half) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_rope_pairs_avx2(x, cosine, sine, half);
    return;
  }
#endif
  for (size_t j = 0; j < half; j++) {
    const float a = x[2 * j];
    const float b = x[2 * j + 1];
    x[2 * j] = a * cosine[j] - b * sine[j];
    x[2 * j + 1] = b * cosine[j] + a * sine[j];
  }
}

void qk_exp(const float *x, float *y, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_exp_avx2(x, y, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    y[k] = qk_exp_scalar(x[k]);
  }
}
