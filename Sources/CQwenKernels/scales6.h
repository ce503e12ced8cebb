// The 12 bytes of 6-bit scales and minima of 8 parts that Q4_K and Q5_K share.
//
// Parts 0 ... 3: byte p has the scale, byte 4 + p the minimum in its lower 6 bits. Parts 4 ... 7: byte 4 + p has the
// lower 4 bits of the scale and, above, of the minimum; their upper 2 bits are those left of bytes p - 4 and p.
#ifndef QK_SCALES6_H
#define QK_SCALES6_H

#include "parts.h"

typedef struct {
  uint8_t scale, minimum;
} qk_scale6;

QK_INLINE qk_scale6 qk_scale6_of(const uint8_t *bytes, int part) {
  if (part < 4) {
    return (qk_scale6){bytes[part] & 63, bytes[part + 4] & 63};
  }
  const uint8_t low = bytes[part + 4];
  return (qk_scale6){(uint8_t)((low & 15) | bytes[part - 4] >> 6 << 4),
                     (uint8_t)(low >> 4 | bytes[part] >> 6 << 4)};
}

// Adds a scale and a minimum to bytes that were zeros.
QK_INLINE void qk_store_scale6(uint8_t *bytes, int part, uint8_t scale, uint8_t minimum) {
  if (part < 4) {
    bytes[part] |= scale;
    bytes[part + 4] |= minimum;
    return;
  }
  bytes[part + 4] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
  bytes[part - 4] |= (uint8_t)(scale >> 4 << 6);
  bytes[part] |= (uint8_t)(minimum >> 4 << 6);
}

QK_INLINE void qk_factors6(const uint8_t *block, int part, qk_part *out) {
  const qk_scale6 scale = qk_scale6_of(block + 4, part);
  out->d = qk_half_to_float(qk_load_u16(block)) * (float)scale.scale;
  out->m = -qk_half_to_float(qk_load_u16(block + 2)) * (float)scale.minimum;
}

#if QK_X86
// Half-precision d and minimum, then the 12 bytes: 16 bytes of each row. w becomes scales 0 ... 3, scales 4 ... 7 and
// minima likewise, a byte each.
QK_INLINE QK_AVX2 void qk_head_scales6(const qk_rows8 *rows, size_t offset, qk_head8 *head) {
  const __m256i six = _mm256_set1_epi8(63);
  const __m256i four = _mm256_set1_epi8(15);
  const __m256i two = _mm256_set1_epi8(48);
  __m256i w[4];
  qk_four_words8(rows, offset, w);
  qk_both_halves(w[0], &head->d, &head->m);
  head->m = _mm256_xor_ps(head->m, _mm256_set1_ps(-0.0f));
  head->w[0] = _mm256_and_si256(w[1], six);
  head->w[1] = _mm256_or_si256(_mm256_and_si256(w[3], four),
                               _mm256_and_si256(_mm256_srli_epi16(w[1], 2), two));
  head->w[2] = _mm256_and_si256(w[2], six);
  head->w[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(w[3], 4), four),
                               _mm256_and_si256(_mm256_srli_epi16(w[2], 2), two));
}

// d and m of a part.
QK_INLINE QK_AVX2 void qk_apply_scales6(const qk_head8 *head, int part, qk_part8 *out) {
  const __m256i scale = qk_byte8(head->w[part / 4], part % 4);
  const __m256i minimum = qk_byte8(head->w[2 + part / 4], part % 4);
  out->d = _mm256_mul_ps(head->d, _mm256_cvtepi32_ps(scale));
  out->m = _mm256_mul_ps(head->m, _mm256_cvtepi32_ps(minimum));
}
#elif QK_ARM
// As qk_head_scales6 and qk_apply_scales6.
QK_INLINE void qk_head4_scales6(const qk_rows4 *rows, size_t offset, qk_head4 *head) {
  QK_UNROLL for (size_t i = 0; i < 4; i++) { head->w[i] = qk_words4(rows, offset + 4 * i); }
  head->d = qk_low_halves4(head->w[0]);
  head->m = vnegq_f32(qk_high_halves4(head->w[0]));
}

QK_INLINE void qk_apply4_scales6(const qk_head4 *head, int part, qk_part4 *out) {
  uint32x4_t scale, minimum;
  if (part < 4) {
    scale = head->w[1] >> (uint32_t)(8 * part) & 63;
    minimum = head->w[2] >> (uint32_t)(8 * part) & 63;
  } else {
    const int i = 8 * (part - 4);
    const uint32x4_t low = head->w[3] >> (uint32_t)i;
    scale = (low & 15) | (head->w[1] >> (uint32_t)(i + 2) & 48);
    minimum = (low >> 4 & 15) | (head->w[2] >> (uint32_t)(i + 2) & 48);
  }
  out->d[0] = vmulq_f32(head->d, vcvtq_f32_u32(scale));
  out->m[0] = vmulq_f32(head->m, vcvtq_f32_u32(minimum));
}
#endif

#endif
