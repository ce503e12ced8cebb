// Loads of keys and values with AVX2.
#ifndef QK_KV_AVX2_H
#define QK_KV_AVX2_H

#include "kv.h"
#include "simd.h"

#if QK_X86

// Bytes of so many elements.
QK_INLINE size_t qk_kv_span(qk_kv element, size_t count) {
  switch (element) {
  case QK_KV_F32: return 4 * count;
  case QK_KV_F16: return 2 * count;
  case QK_KV_Q8: return count;
  default: return count / 2;
  }
}

QK_INLINE void qk_fetch(const uint8_t *source, size_t bytes) {
  QK_UNROLL for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)source + i, _MM_HINT_T0);
}

// The values of one position; scales of 4 bits.
typedef struct {
  const uint8_t *data, *scales;
} qk_kv_row;

QK_INLINE qk_kv_row qk_kv_row_of(qk_kv element, const uint8_t *run, size_t dim, size_t position) {
  return (qk_kv_row){qk_kv_row_at(element, run, dim, position), qk_kv4_scales(run, dim, position)};
}

// 8 elements of a value from k on, a multiple of 8; of 8 bits the codes.
QK_INLINE QK_AVX2 __m256 qk_value_load8(qk_kv element, qk_kv_row r, size_t k) {
  if (element == QK_KV_F32) return qk_load8(QK_F32, r.data + 4 * k);
  if (element == QK_KV_F16) return qk_load8(QK_F16, r.data + 2 * k);
  if (element == QK_KV_Q8) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(r.data + k))));
  }
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)(r.data + k / 16 * 8));
  const __m128i shift = _mm_cvtsi32_si128((int)qk_kv4_shift(k));
  const __m128i four = _mm_and_si128(_mm_srl_epi16(bytes, shift), _mm_set1_epi8(15));
  int32_t pair;
  memcpy(&pair, r.scales + k / 32 * 4, sizeof pair);
  const __m128 scales = _mm_cvtph_ps(_mm_cvtsi32_si128(pair));
  return _mm256_fmadd_ps(_mm256_broadcastss_ps(scales), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(four)),
                         _mm256_broadcastss_ps(_mm_movehdup_ps(scales)));
}

// d and m of 4 bits of all positions, for a group of 32 elements.
typedef struct {
  float d[QK_PAGE_POSITIONS], m[QK_PAGE_POSITIONS];
} qk_key_scales;

QK_INLINE QK_AVX2 void qk_key_scales_of(const uint8_t *run, size_t group, size_t position, size_t count,
                                        qk_key_scales *scales) {
  const uint8_t *source = run + 4 * QK_PAGE_POSITIONS * group;
  for (size_t p = position; p < position + count; p += 8) {
    _mm256_storeu_ps(scales->d + p, qk_load8(QK_F16, source + 2 * p));
    _mm256_storeu_ps(scales->m + p, qk_load8(QK_F16, source + 2 * (QK_PAGE_POSITIONS + p)));
  }
}

// Where unit u of the keys of a position lies.
QK_INLINE const uint8_t *qk_key_units(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k) {
  const uint8_t *units = run + qk_kv_scale_bytes(element, dim);
  switch (element) {
  case QK_KV_F32: return units + 4 * qk_key_place(dim, position, k);
  case QK_KV_F16: return units + 2 * qk_key_place(dim, position, k);
  case QK_KV_Q8: return units + qk_key_place(dim, position, k);
  default: return units + qk_key_place(qk_kv4_row(dim), position, qk_kv4_unit(k));
  }
}

// Element k of 8 positions from `position` on, a multiple of 8; of 8 bits the codes. Of 4 bits, is_high is k / 8 % 2 and `scales` are those of
// the element's group.
QK_INLINE QK_AVX2 __m256 qk_key_load8(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k,
                                      const size_t is_high, const qk_key_scales *scales) {
  const uint8_t *source = qk_key_units(element, run, dim, position, k);
  if (element == QK_KV_F32) return qk_load8(QK_F32, source);
  if (element == QK_KV_F16) return qk_load8(QK_F16, source);
  const __m128i bytes = _mm_loadl_epi64((const __m128i *)source);
  if (element == QK_KV_Q8) return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  const __m256i both = _mm256_cvtepu8_epi32(bytes);
  const __m256i four = is_high ? _mm256_srli_epi32(both, 4) : _mm256_and_si256(both, _mm256_set1_epi32(15));
  return _mm256_fmadd_ps(_mm256_loadu_ps(scales->d + position), _mm256_cvtepi32_ps(four),
                         _mm256_loadu_ps(scales->m + position));
}

#endif
#endif
