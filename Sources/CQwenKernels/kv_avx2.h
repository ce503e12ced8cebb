// Loads of keys and values with AVX2.
#ifndef QK_KV_AVX2_H
#define QK_KV_AVX2_H

#include "kv.h"
#include "simd.h"

#if QK_X86

// The row of one position.
typedef struct {
  const uint8_t *data, *scales;
} qk_kv_row;

QK_INLINE qk_kv_row qk_kv_row_of(qk_kv element, const uint8_t *run, size_t dim, size_t position) {
  switch (element) {
  case QK_KV_F32: return (qk_kv_row){run + 4 * dim * position, 0};
  case QK_KV_F16: return (qk_kv_row){run + 2 * dim * position, 0};
  case QK_KV_Q8: return (qk_kv_row){qk_kv8_row(run, dim, position), run + 4 * position};
  default: return (qk_kv_row){qk_kv4_bytes_of(run, dim, position), qk_kv4_scales(run, dim, position)};
  }
}

// Fetches the rows of count positions from `position` on. Values are wanted right after keys are read: they come meanwhile.
QK_INLINE void qk_kv_prefetch(qk_kv element, const uint8_t *run, size_t dim, size_t position,
                              size_t count) {
  const uint8_t *data = qk_kv_row_of(element, run, dim, position).data;
  const uint8_t *end = qk_kv_row_of(element, run, dim, position + count).data;
  for (; data < end; data += 64) _mm_prefetch((const char *)data, _MM_HINT_T0);
}

// 8 elements from k on, a multiple of 8.
QK_INLINE QK_AVX2 __m256 qk_kv_load8(qk_kv element, qk_kv_row r, size_t k) {
  if (element == QK_KV_F32 || element == QK_KV_F16) {
    return element == QK_KV_F32 ? qk_load8(QK_F32, r.data + 4 * k) : qk_load8(QK_F16, r.data + 2 * k);
  }
  if (element == QK_KV_Q8) {
    const __m256i q = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(r.data + k)));
    return _mm256_mul_ps(_mm256_broadcast_ss((const float *)r.scales), _mm256_cvtepi32_ps(q));
  }
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)(r.data + k / 16 * 8));
  const __m128i shift = _mm_cvtsi32_si128((int)(k / 8 % 2 * 4));
  const __m128i four = _mm_and_si128(_mm_srl_epi16(bytes, shift), _mm_set1_epi8(15));
  int32_t pair;
  memcpy(&pair, r.scales + k / 32 * 4, sizeof pair);
  const __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(pair));
  return _mm256_fmadd_ps(_mm256_broadcastss_ps(scales), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(four)),
                         _mm256_broadcastss_ps(_mm_movehdup_ps(scales)));
}

#endif
#endif
