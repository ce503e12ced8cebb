// Attention over one page of cached positions.
//
// Sum shapes: a score is a product of 8 lanes as in lanes.h. The weights of a page are added in 8
// lanes by position modulo 8, hidden ones as zero, then sum = fma(sum, correction, page). An output
// element is multiplied by the correction and takes fma(weight, value, element) position by
// position.
#include "exp.h"
#include "kv.h"
#include "twins.h"

// The product of a query and the key of one position, in 8 lanes as in lanes.h.
QK_INLINE float score_of(qk_kv element, const uint8_t *keys, size_t dim, size_t position,
                         const float *q) {
  float lanes[8] = {0};
  size_t k = 0;
  for (; k + 8 <= dim; k += 8) {
    for (size_t l = 0; l < 8; l++) {
      lanes[l] = fmaf(qk_kv_value(element, keys, dim, position, k + l), q[k + l], lanes[l]);
    }
  }
  for (size_t l = 0; k < dim && l < 8; l++) {
    const int inside = k + l < dim;
    lanes[l] = fmaf(inside ? qk_kv_value(element, keys, dim, position, k + l) : 0,
                    inside ? q[k + l] : 0, lanes[l]);
  }
  return qk_sum_lanes(lanes);
}

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
    const float before = maximum[i];
    float now = before;
    for (size_t p = from; p < to; p++) {
      weights[p] = score_of(element, keys, dim, p, q + i * q_stride);
      now = weights[p] > now ? weights[p] : now;
    }
    // Where every score is -infinity, so that none of them counts and none becomes NaN.
    const float base = now == -INFINITY ? 0 : now;
    const float correction = qk_exp_scalar(before - base);
    float lanes[8] = {0};
    for (size_t p = from; p < to; p++) {
      weights[p] = qk_exp_scalar(weights[p] - base);
      lanes[p % 8] += weights[p];
    }
    maximum[i] = now;
    sum[i] = fmaf(sum[i], correction, qk_sum_lanes(lanes));
    float *target = out + i * out_stride;
    for (size_t k = 0; k < dim; k++) {
      target[k] *= correction;
    }
    for (size_t p = from; p < to; p++) {
      for (size_t k = 0; k < dim; k++) {
        target[k] = fmaf(weights[p], qk_kv_value(element, values, dim, p, k), target[k]);
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
    twin(q, q_stride, queries, keys, values, dim, first, visible, maximum, sum, out,            \
         out_stride);                                                                           \
    return;                                                                                     \
  }
#else
#define QK_FAST(format)
#endif

#define QK_PAGE(format, element)                                                                \
  void qk_attention_page_##format(const float *q, size_t q_stride, size_t queries,              \
                                  const void *keys, const void *values, size_t dim,             \
                                  const int32_t *first, const int32_t *visible, float *maximum, \
                                  float *sum, float *out, size_t out_stride) {                  \
    QK_FAST(format)                                                                             \
    page_scalar(element, q, q_stride, queries, keys, values, dim, first, visible, maximum, sum, \
                out, out_stride);                                                               \
  }

QK_PAGE(f32, QK_KV_F32)
QK_PAGE(f16, QK_KV_F16)
QK_PAGE(q8, QK_KV_Q8)
QK_PAGE(q4, QK_KV_Q4)
