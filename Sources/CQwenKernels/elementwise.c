// Functions of one vector, or of two of the same length. Each is a loop, which the compiler turns into vectors of every
// instruction set: lanes do what the loop does, so bits are equal. A result may lie where an argument does, at the same
// places; QK_LANES says so, or calls in place would go one element at a time.
#include "exp.h"
#include "lanes.h"

#if defined(__clang__)
#define QK_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define QK_LANES _Pragma("GCC ivdep")
#endif

// A function from its loop: on x86-64 by the set in force, elsewhere with what the compiler may use.
#if QK_X86
#define QK_DEFINE(function, loop, parameters, arguments)             \
  static QK_AVX2 void loop##_avx2 parameters { loop arguments; }     \
  static QK_AVX512 void loop##_avx512 parameters { loop arguments; } \
  void function parameters {                                         \
    if (qk_isa() >= QK_ISA_AVX512) {                                 \
      loop##_avx512 arguments;                                       \
    } else if (qk_isa() >= QK_ISA_AVX2) {                            \
      loop##_avx2 arguments;                                         \
    } else {                                                         \
      loop arguments;                                                \
    }                                                                \
  }
#else
#define QK_DEFINE(function, loop, parameters, arguments) \
  void function parameters { loop arguments; }
#endif

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
