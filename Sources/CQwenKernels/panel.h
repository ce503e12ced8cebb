// Blocks of 8 rows laid side by side, the common form of the blocked formats in the AVX2 and
// AVX-512 twins.
//
// Vector g of a block holds, for each of 8 rows, 4 bytes of q: a multiply-add of bytes against the
// same 4 activations leaves one integer a row. 8 vectors make a block of 32.
#ifndef QK_PANEL_H
#define QK_PANEL_H

#include "blocks.h"
#include "simd.h"

#if QK_X86

// How far ahead groups of blocks of 32 are fetched, to the first-level cache: measured, not derived.
enum { QK_AHEAD = 8 << 10 };

// Known when compiled wherever it is a parameter.
typedef enum { QK_Q4_0, QK_Q4_1, QK_Q8_0 } qk_format;

QK_INLINE size_t qk_block_bytes(qk_format format) {
  return format == QK_Q4_0 ? QK_Q4_0_BYTES : format == QK_Q4_1 ? QK_Q4_1_BYTES : QK_Q8_0_BYTES;
}

typedef struct {
  __m256i q[8]; // 4 bits: unsigned, 0 ... 15; 8 bits: signed
  __m256 d;
  __m256 m; // of formats with a minimum
} qk_block8;

// Where 8 rows begin; beyond count they repeat the last, whose results are not stored.
QK_INLINE void qk_row_pointers(const uint8_t *row[8], const uint8_t *first, size_t row_bytes,
                               size_t count) {
  for (size_t r = 0; r < 8; r++) {
    row[r] = first + (r < count ? r : count - 1) * row_bytes;
  }
}

// 16 bytes of each row as 4 vectors of 4 bytes a row.
QK_INLINE QK_AVX2 void qk_transpose16(const uint8_t *const row[8], size_t offset, __m256i out[4]) {
  __m256i v[4];
  QK_UNROLL for (int i = 0; i < 4; i++) {
    const __m128i low = _mm_loadu_si128((const __m128i *)(row[i] + offset));
    const __m128i high = _mm_loadu_si128((const __m128i *)(row[i + 4] + offset));
    v[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  }
  const __m256i a = _mm256_unpacklo_epi32(v[0], v[1]);
  const __m256i b = _mm256_unpackhi_epi32(v[0], v[1]);
  const __m256i c = _mm256_unpacklo_epi32(v[2], v[3]);
  const __m256i d = _mm256_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm256_unpacklo_epi64(a, c);
  out[1] = _mm256_unpackhi_epi64(a, c);
  out[2] = _mm256_unpacklo_epi64(b, d);
  out[3] = _mm256_unpackhi_epi64(b, d);
}

// The half-precision numbers at this offset of each row.
QK_INLINE QK_AVX2 __m256 qk_halves8(const uint8_t *const row[8], size_t offset) {
  __m128i bits = _mm_cvtsi32_si128(qk_load_u16(row[0] + offset));
  bits = _mm_insert_epi16(bits, qk_load_u16(row[1] + offset), 1);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[2] + offset), 2);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[3] + offset), 3);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[4] + offset), 4);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[5] + offset), 5);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[6] + offset), 6);
  bits = _mm_insert_epi16(bits, qk_load_u16(row[7] + offset), 7);
  return _mm256_cvtph_ps(bits);
}

// The blocks that begin at this offset of each row.
QK_INLINE QK_AVX2 qk_block8 qk_load_block8(qk_format format, const uint8_t *const row[8],
                                           size_t offset) {
  qk_block8 block;
  block.d = qk_halves8(row, offset);
  block.m = format == QK_Q4_1 ? qk_halves8(row, offset + 2) : _mm256_setzero_ps();
  if (format == QK_Q8_0) {
    qk_transpose16(row, offset + 2, block.q);
    qk_transpose16(row, offset + 18, block.q + 4);
    return block;
  }
  __m256i packed[4];
  qk_transpose16(row, offset + (format == QK_Q4_1 ? 4 : 2), packed);
  const __m256i mask = _mm256_set1_epi8(15);
  QK_UNROLL for (int g = 0; g < 4; g++) {
    block.q[g] = _mm256_and_si256(packed[g], mask);
    block.q[g + 4] = _mm256_and_si256(_mm256_srli_epi16(packed[g], 4), mask);
  }
  return block;
}

// Fetches the blocks of 8 rows that one token needs later.
QK_INLINE void qk_prefetch_block8(qk_format format, const uint8_t *ahead, size_t row_bytes,
                                  size_t b) {
  const size_t bytes = qk_block_bytes(format);
  if (format == QK_Q8_0) {
    qk_prefetch_rows(ahead + b * bytes, row_bytes, 8);
  } else {
    qk_prefetch(ahead + 8 * b * bytes, 8 * bytes);
  }
}

// Fetches a block of 16 interleaved rows that is needed later.
QK_INLINE void qk_prefetch_group(qk_format format, const uint8_t *group, size_t b) {
  const size_t bytes = 16 * qk_block_bytes(format);
  qk_prefetch_near(group + b * bytes + QK_AHEAD, bytes);
}

// 4 activations, repeated for every row.
QK_INLINE QK_AVX2 __m256i qk_four(const qk_a8_block *x, int g) {
  int32_t four;
  memcpy(&four, x->values + 4 * g, sizeof four);
  return _mm256_set1_epi32(four);
}

// sum + 4 products of unsigned and signed bytes in each lane, by AVX-VNNI. Assembly, as the loops around it are compiled
// for AVX2, too, and no intrinsic of another set may be inlined into them.
QK_INLINE QK_AVX2 __m256i qk_dot_vnni(__m256i sum, __m256i q, __m256i four) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(q), "x"(four));
  return sum;
}

// total = fma(products, d * scale, total); with a minimum also fma(m, scale * sum, total).
QK_INLINE QK_AVX2 __m256 qk_add_block8(qk_format format, __m256i products, __m256 d, __m256 m,
                                       const qk_a8_block *x, __m256 total) {
  const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x->scale));
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), scale, total);
  if (format == QK_Q4_1) {
    total = _mm256_fmadd_ps(m, _mm256_set1_ps(x->scaled_sum), total);
  }
  return total;
}

// The first count (1 ... 8) of 8 lanes as a mask for masked loads and stores.
QK_INLINE QK_AVX2 __m256i qk_mask8(size_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)count), lane);
}

// Stores the first count of 8 lanes, or all. A masked store is dozens of operations on processors before Zen 5.
QK_INLINE QK_AVX2 void qk_store_first8(float *y, size_t count, __m256 lanes) {
  if (count >= 8) {
    _mm256_storeu_ps(y, lanes);
  } else {
    _mm256_maskstore_ps(y, qk_mask8(count), lanes);
  }
}

#endif
#endif
