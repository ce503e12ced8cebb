// Products of float formats with AVX2 and FMA: a vector holds the 8 lanes of a row.
#include "simd.h"
#include "twins.h"

#if QK_X86

#define TILE_TOKENS 3 // 4 x 3 sums, 3 activations and 1 weight fill the 16 registers
#define QK_SET QK_AVX2
typedef __m256 vector;
enum { TILE_ROWS = 4 };

QK_INLINE QK_AVX2 __m256 zero(void) { return _mm256_setzero_ps(); }

// One of two factors of a lane: of a pair the upper, then the lower.
QK_INLINE QK_AVX2 __m256 half_of(qk_element element, int half, __m256 lanes) {
  if (element != QK_BF16_PAIRS) return lanes;
  const __m256i bits = _mm256_castps_si256(lanes);
  return _mm256_castsi256_ps(half == 0 ? _mm256_and_si256(bits, _mm256_set1_epi32((int)0xffff0000))
                                       : _mm256_slli_epi32(bits, 16));
}

QK_INLINE QK_AVX2 __m256 spread(const uint8_t *x) { return _mm256_loadu_ps((const float *)x); }

QK_INLINE QK_AVX2 __m256 load_rows(qk_element element, const uint8_t *row, size_t row_bytes) {
  (void)row_bytes;
  return qk_load8(element, row);
}

QK_INLINE QK_AVX2 __m256 multiply_add(qk_element element, int is_full, __m256 w, __m256 x, __m256 sum) {
  (void)element;
  sum = _mm256_fmadd_ps(w, x, sum);
  // The next weight is loaded after this: with one more in flight the compiler spills sums.
  if (is_full) __asm__ volatile("" : "+x"(sum)::"memory");
  return sum;
}

QK_INLINE QK_AVX2 void store_sums(__m256 sums, float *y) { *y = qk_sum8(sums); }

#include "float_tiles.h"

#define QK_MATMUL(name, element)                                                                              \
  QK_AVX2 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,       \
                    size_t x_stride, size_t tokens, float *y, size_t y_stride) {                              \
    const qk_float_operands o = {weights, row_bytes, columns, (const uint8_t *)x, 4 * x_stride, y, y_stride}; \
    rows_product(element, rows, tokens, o);                                                   \
  }

QK_MATMUL(qk_f32_matmul_avx2, QK_F32)
QK_MATMUL(qk_f16_matmul_avx2, QK_F16)
QK_MATMUL(qk_bf16_matmul_avx2, QK_BF16)

// Subnormal numbers count as zero, as what is rounded into their range does: the reference does so, too.
QK_AVX2 void qk_bf16_matmul_bf16_avx2(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                                      const uint16_t *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const qk_float_operands o = {weights, row_bytes, columns, (const uint8_t *)x, 2 * x_stride, y, y_stride};
  const uint32_t state = qk_flush_subnormals();
  rows_product(QK_BF16_PAIRS, rows, tokens, o);
  qk_restore_subnormals(state);
}

// ---- Decoding and encoding --------

QK_INLINE QK_AVX2 void decode(qk_element element, const uint8_t *source, float *values,
                              size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    _mm256_storeu_ps(values + k, qk_load8(element, source + 2 * k));
  }
  for (; k < count; k++) {
    values[k] = element == QK_F16 ? qk_load_f16(source, k) : qk_load_bf16(source, k);
  }
}

QK_AVX2 void qk_f16_decode_avx2(const void *source, float *values, size_t count) {
  decode(QK_F16, source, values, count);
}

QK_AVX2 void qk_bf16_decode_avx2(const void *source, float *values, size_t count) {
  decode(QK_BF16, source, values, count);
}

QK_AVX2 void qk_f16_encode_avx2(const float *values, void *target, size_t count) {
  uint8_t *out = target;
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(values + k), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)(out + 2 * k), halves);
  }
  for (; k < count; k++) {
    const uint16_t half = qk_float_to_half(values[k]);
    memcpy(out + 2 * k, &half, sizeof half);
  }
}

QK_AVX2 void qk_bf16_encode_avx2(const float *values, void *target, size_t count) {
  uint8_t *out = target;
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const __m256 value = _mm256_loadu_ps(values + k);
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i nearest = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 is_nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    const __m256i rounded = _mm256_srli_epi32(_mm256_blendv_epi8(nearest, quiet, _mm256_castps_si256(is_nan)), 16);
    const __m128i packed =
        _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    _mm_storeu_si128((__m128i *)(out + 2 * k), packed);
  }
  for (; k < count; k++) {
    const uint16_t bits = qk_float_to_bfloat(values[k]);
    memcpy(out + 2 * k, &bits, sizeof bits);
  }
}

#endif
