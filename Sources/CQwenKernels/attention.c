// Attention over one page of cached positions.
//
// Sum shapes: a score is one sum over rising elements. The weights of a page are added in 16 lanes by position modulo 16,
// hidden ones as zero; lanes l and l + 8, then as in lanes.h; then sum = fma(sum, correction, page). An output element is
// multiplied by the correction and takes fma(weight, value, element) position by position. With 8 bits these are sums of
// codes: a score is multiplied by the scale of its key behind its sum, a weight by that of its value once it is counted.
#include "exp.h"
#include "kv.h"
#include "loops.h"
#include "twins.h"

QK_INLINE void page_scalar(qk_kv element, const float *q, size_t q_stride, size_t queries,
                           const uint8_t *keys, const uint8_t *values, size_t dim,
                           const int32_t *first, const int32_t *visible, float *maximum,
                           float *sum, float *out, size_t out_stride) {
  float weights[QK_PAGE_POSITIONS];
  for (size_t i = 0; i < queries; i++) {
    const size_t from = (size_t)first[i];
    const size_t to = (size_t)visible[i];
    if (first[i] >= visible[i]) {
      continue;
    }
    // What lies in hidden positions is multiplied too, and not looked at.
    for (size_t p = from / QK_KEY_BLOCK * QK_KEY_BLOCK; p < to; p += QK_KEY_BLOCK) {
      float scores[QK_KEY_BLOCK] = {0};
      for (size_t k = 0; k < dim; k++) {
        const float factor = q[i * q_stride + k];
        for (size_t l = 0; l < QK_KEY_BLOCK; l++) {
          scores[l] = fmaf(factor, qk_key_code(element, keys, dim, p + l, k), scores[l]);
        }
      }
      if (element == QK_KV_Q8) {
        for (size_t l = 0; l < QK_KEY_BLOCK; l++) scores[l] *= qk_load_f32(keys, p + l);
      }
      memcpy(weights + p, scores, sizeof scores);
    }
    const float before = maximum[i];
    float now = before;
    for (size_t p = from; p < to; p++) {
      now = weights[p] > now ? weights[p] : now;
    }
    // Where every score is -infinity, so that none of them counts and none becomes NaN.
    const float base = now == -INFINITY ? 0 : now;
    const float correction = before == base ? 1 : qk_weight_scalar(before - base);
    float lanes[16] = {0};
    for (size_t p = from; p < to; p++) {
      weights[p] = qk_weight_scalar(weights[p] - base);
      lanes[p % 16] += weights[p];
    }
    for (size_t l = 0; l < 8; l++) {
      lanes[l] += lanes[l + 8];
    }
    maximum[i] = now;
    sum[i] = fmaf(sum[i], correction, qk_sum_lanes(lanes));
    float *target = out + i * out_stride;
    for (size_t k = 0; k < dim; k++) {
      target[k] *= correction;
    }
    for (size_t p = from; p < to; p++) {
      const float weight = element == QK_KV_Q8 ? weights[p] * qk_load_f32(values, p) : weights[p];
      for (size_t k = 0; k < dim; k++) {
        target[k] = fmaf(weight, qk_value_code(element, values, dim, p, k), target[k]);
      }
    }
  }
}

#if QK_X86
#define QK_FAST(format)                                                                         \
  if (qk_isa() >= QK_ISA_AVX2) {                                                                \
    qk_attention_page *const twin = qk_isa() >= QK_ISA_AVX512                                   \
                                        ? qk_attention_page_##format##_avx512                   \
                                        : qk_attention_page_##format##_avx2;                    \
    twin(q, q_stride, queries, keys, values, ahead ? ahead : keys, dim, first, visible, maximum, \
         sum, out, out_stride);                                                                 \
    return;                                                                                     \
  }
#elif QK_ARM
#define QK_FAST(format)                                                                         \
  if (qk_isa() >= QK_ISA_NEON) {                                                                \
    qk_attention_page_##format##_neon(q, q_stride, queries, keys, values, ahead ? ahead : keys, \
                                      dim, first, visible, maximum, sum, out, out_stride);      \
    return;                                                                                     \
  }
#else
#define QK_FAST(format) (void)ahead;
#endif

#define QK_PAGE(format, element)                                                                \
  void qk_attention_page_##format(const float *q, size_t q_stride, size_t queries,              \
                                  const void *keys, const void *values, const void *ahead,      \
                                  size_t dim, const int32_t *first, const int32_t *visible,     \
                                  float *maximum, float *sum, float *out, size_t out_stride) {  \
    QK_FAST(format)                                                                             \
    page_scalar(element, q, q_stride, queries, keys, values, dim, first, visible, maximum, sum, \
                out, out_stride);                                                               \
  }

QK_PAGE(f32, QK_KV_F32)
QK_PAGE(f16, QK_KV_F16)
QK_PAGE(q8, QK_KV_Q8)
QK_PAGE(q4, QK_KV_Q4)

QK_INLINE void merge(size_t queries, size_t dim, float *maximum, float *sum, float *out, const float *behind_maximum,
                     const float *behind_sum, const float *behind_out) {
  for (size_t i = 0; i < queries; i++) {
    float *target = out + i * dim;
    const float *source = behind_out + i * dim;
    // Who saw nothing leaves no trace, not even in the sign of a zero.
    if (behind_maximum[i] == -INFINITY && behind_sum[i] == 0) continue;
    if (maximum[i] == -INFINITY && sum[i] == 0) {
      maximum[i] = behind_maximum[i];
      sum[i] = behind_sum[i];
      memcpy(target, source, dim * sizeof *target);
      continue;
    }
    const float now = behind_maximum[i] > maximum[i] ? behind_maximum[i] : maximum[i];
    const float base = now == -INFINITY ? 0 : now;
    const float mine = qk_exp_scalar(maximum[i] - base);
    const float theirs = qk_exp_scalar(behind_maximum[i] - base);
    maximum[i] = now;
    sum[i] = sum[i] * mine + behind_sum[i] * theirs;
    for (size_t k = 0; k < dim; k++) {
      target[k] = target[k] * mine + source[k] * theirs;
    }
  }
}
QK_DEFINE(qk_attention_merge, merge,
          (size_t queries, size_t dim, float *maximum, float *sum, float *out, const float *behind_maximum,
           const float *behind_sum, const float *behind_out),
          (queries, dim, maximum, sum, out, behind_maximum, behind_sum, behind_out))
