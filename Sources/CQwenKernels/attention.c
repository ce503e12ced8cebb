// Attention over one page of cached positions.
//
// Sum shapes: a score is a product of 8 lanes as in lanes.h. The weights of a page are added in 8
// lanes by position modulo 8, hidden ones as zero, then sum = fma(sum, correction, page). An output
// element is multiplied by the correction and takes fma(weight, value, element) position by
// position.
#include "exp.h"
#include "lanes.h"
#include "twins.h"

QK_INLINE void page_scalar(qk_load *load, size_t bytes, const float *q, size_t q_stride,
                           size_t queries, const uint8_t *keys, const uint8_t *values, size_t dim,
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
      weights[p] = qk_dot_scalar(load, keys + p * dim * bytes, q + i * q_stride, dim);
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
        target[k] = fmaf(weights[p], load(values + p * dim * bytes, k), target[k]);
      }
    }
  }
}

void qk_attention_page_f32(const float *q, size_t q_stride, size_t queries, const float *keys,
                           const float *values, size_t dim, const int32_t *first,
                           const int32_t *visible, float *maximum, float *sum, float *out,
                           size_t out_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_attention_page_f32_avx2(q, q_stride, queries, keys, values, dim, first, visible, maximum,
                               sum, out, out_stride);
    return;
  }
#endif
  page_scalar(qk_load_f32, 4, q, q_stride, queries, (const uint8_t *)keys, (const uint8_t *)values,
              dim, first, visible, maximum, sum, out, out_stride);
}

void qk_attention_page_f16(const float *q, size_t q_stride, size_t queries, const uint16_t *keys,
                           const uint16_t *values, size_t dim, const int32_t *first,
                           const int32_t *visible, float *maximum, float *sum, float *out,
                           size_t out_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_attention_page_f16_avx2(q, q_stride, queries, keys, values, dim, first, visible, maximum,
                               sum, out, out_stride);
    return;
  }
#endif
  page_scalar(qk_load_f16, 2, q, q_stride, queries, (const uint8_t *)keys, (const uint8_t *)values,
              dim, first, visible, maximum, sum, out, out_stride);
}
