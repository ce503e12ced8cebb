// Functions of one vector, or of two of the same length. Each is a loop, which the compiler turns into vectors of every
// instruction set: lanes do what the loop does, so bits are equal. A result may lie where an argument does, at the same
// places.
#include "exp.h"
#include "lanes.h"
#include "loops.h"

// The sum of squares has the shape of a product with itself.
QK_INLINE void rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count) {
  const float squares = qk_dot_scalar(qk_load_f32, (const uint8_t *)x, x, count);
  const float factor = 1 / sqrtf(squares / (float)count + epsilon);
  QK_LANES for (size_t k = 0; k < count; k++) y[k] = x[k] * factor * weight[k];
}
QK_DEFINE(qk_rms_norm, rms_norm, (const float *x, const float *weight, float epsilon, float *y, size_t count),
          (x, weight, epsilon, y, count))

QK_INLINE void add(float *x, const float *y, size_t count) {
  QK_LANES for (size_t k = 0; k < count; k++) x[k] += y[k];
}
QK_DEFINE(qk_add, add, (float *x, const float *y, size_t count), (x, y, count))

QK_INLINE void scale(float *x, float factor, size_t count) {
  QK_LANES for (size_t k = 0; k < count; k++) x[k] *= factor;
}
QK_DEFINE(qk_scale, scale, (float *x, float factor, size_t count), (x, factor, count))

QK_INLINE void silu_multiply(const float *gate, const float *up, float *out, size_t count) {
  QK_LANES for (size_t k = 0; k < count; k++) out[k] = gate[k] / (1 + qk_exp_scalar(-gate[k])) * up[k];
}
QK_DEFINE(qk_silu_multiply, silu_multiply, (const float *gate, const float *up, float *out, size_t count),
          (gate, up, out, count))

QK_INLINE void rope_halves(float *x, const float *cosine, const float *sine, size_t half) {
  QK_LANES for (size_t j = 0; j < half; j++) {
    const float a = x[j], b = x[j + half];
    x[j] = a * cosine[j] - b * sine[j];
    x[j + half] = b * cosine[j] + a * sine[j];
  }
}
QK_DEFINE(qk_rope_halves, rope_halves, (float *x, const float *cosine, const float *sine, size_t half),
          (x, cosine, sine, half))

QK_INLINE void rope_pairs(float *x, const float *cosine, const float *sine, size_t half) {
  QK_LANES for (size_t j = 0; j < half; j++) {
    const float a = x[2 * j], b = x[2 * j + 1];
    x[2 * j] = a * cosine[j] - b * sine[j];
    x[2 * j + 1] = b * cosine[j] + a * sine[j];
  }
}
QK_DEFINE(qk_rope_pairs, rope_pairs, (float *x, const float *cosine, const float *sine, size_t half),
          (x, cosine, sine, half))

QK_INLINE void exp_all(const float *x, float *y, size_t count) {
  QK_LANES for (size_t k = 0; k < count; k++) y[k] = qk_exp_scalar(x[k]);
}
QK_DEFINE(qk_exp, exp_all, (const float *x, float *y, size_t count), (x, y, count))
