#include "internal.h"

// Turns scores into weights exp(score - m') and carries sum and out over to the new maximum m'.
static void qk_soften(float *scores, int32_t from, int32_t to, float *maximum, float *sum,
                      float *out, size_t dim) {
  float most = *maximum;
  for (int32_t p = from; p < to; p++) most = scores[p] > most ? scores[p] : most;
  for (int32_t p = from; p < to; p++) scores[p] -= most;
  qk_exp(scores + from, scores + from, (size_t)(to - from));
  float carried = *maximum - most;
  qk_exp(&carried, &carried, 1);
  float total = *sum * carried;
  for (int32_t p = from; p < to; p++) total += scores[p];
  if (carried != 1) qk_scale(out, carried, dim);
  *maximum = most;
  *sum = total;
}

#define QK_NAME(part) qk_f32_attention_##part
#define ELEMENT float
#define LOAD_ONE(row, k) (row)[k]
#define LOAD_EIGHT(row, k) _mm256_loadu_ps((row) + (k))
#define qk_f32_attention_page qk_attention_page_f32
#include "attention.h"
#undef QK_NAME
#undef ELEMENT
#undef LOAD_ONE
#undef LOAD_EIGHT

#define QK_NAME(part) qk_f16_attention_##part
#define ELEMENT uint16_t
#define LOAD_ONE(row, k) qk_half_to_float((row)[k])
#define LOAD_EIGHT(row, k) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((row) + (k))))
#define qk_f16_attention_page qk_attention_page_f16
#include "attention.h"
