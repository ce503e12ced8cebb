// Products of float formats with AVX-512: a vector holds the 8 lanes of two rows, so that sums have
// the same shape, and the same bits, as with AVX2.
#include "simd.h"
#include "twins.h"

#if QK_X86

#define TILE_TOKENS 6 // 4 x 6 sums, 6 activations and 1 weight fill 31 of 32 registers
#define QK_SET QK_AVX512
typedef __m512 vector;
enum {
  TILE_ROWS = 8,    // 4 vectors of two rows
  LEAST_TOKENS = 4, // fewer are the work of the AVX2 twin, which then runs at the speed of memory
};

QK_INLINE QK_AVX512 __m512 zero(void) { return _mm512_setzero_ps(); }

// One of two factors of a lane: of a pair the upper, then the lower.
QK_INLINE QK_AVX512 __m512 half_of(qk_element element, int half, __m512 lanes) {
  if (element != QK_BF16_PAIRS) return lanes;
  const __m512i bits = _mm512_castps_si512(lanes);
  return _mm512_castsi512_ps(half == 0 ? _mm512_and_si512(bits, _mm512_set1_epi32((int)0xffff0000))
                                       : _mm512_slli_epi32(bits, 16));
}

QK_INLINE QK_AVX512 __m512 spread(const uint8_t *x) {
  return _mm512_broadcast_f32x8(_mm256_loadu_ps((const float *)x));
}

// 8 lanes of one row, then 8 of the next.
QK_INLINE QK_AVX512 __m512 load_rows(qk_element element, const uint8_t *row, size_t row_bytes) {
  const uint8_t *other = row + row_bytes;
  if (qk_lane_bytes(element) == 4) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps((const float *)row)),
                              _mm256_loadu_ps((const float *)other), 1);
  }
  const __m256i bits = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)row)),
                                               _mm_loadu_si128((const __m128i *)other), 1);
  if (element == QK_F16) {
    return _mm512_cvtph_ps(bits);
  }
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

QK_INLINE QK_AVX512 __m512 multiply_add(qk_element element, int is_full, __m512 w, __m512 x, __m512 sum) {
  (void)is_full;
  if (element == QK_BF16_DOT) {
    // No intrinsic: it belongs to another set than the loops around it.
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
  }
  return _mm512_fmadd_ps(w, x, sum);
}

QK_INLINE QK_AVX512 void store_sums(__m512 sums, float *y) {
  y[0] = qk_sum8(_mm512_castps512_ps256(sums));
  y[1] = qk_sum8(_mm512_extractf32x8_ps(sums, 1));
}

#include "float_tiles.h"

// An odd row is the work of the AVX2 twin, too.
#define QK_MATMUL(name, element, number, rest)                                                                 \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const number *x,     \
                      size_t x_stride, size_t tokens, float *y, size_t y_stride) {                             \
    const qk_float_operands o = {                                                                              \
        weights, row_bytes, columns, (const uint8_t *)x, sizeof(number) * x_stride, y, y_stride};              \
    const size_t even = tokens < LEAST_TOKENS ? 0 : rows / 2 * 2;                                              \
    if (even > 0) rows_product(element, even, tokens, o);                                                      \
    if (even < rows) {                                                                                         \
      rest(o.weights + even * row_bytes, row_bytes, rows - even, columns, x, x_stride, tokens, y + even,       \
           y_stride);                                                                                          \
    }                                                                                                          \
  }

QK_MATMUL(qk_f32_matmul_avx512, QK_F32, float, qk_f32_matmul_avx2)
QK_MATMUL(qk_f16_matmul_avx512, QK_F16, float, qk_f16_matmul_avx2)
QK_MATMUL(qk_bf16_matmul_avx512, QK_BF16, float, qk_bf16_matmul_avx2)

// Within a function that has set how subnormal numbers are taken.
static QK_MATMUL(pairs, QK_BF16_PAIRS, uint16_t, qk_bf16_matmul_bf16_avx2)
static QK_MATMUL(dots, QK_BF16_DOT, uint16_t, qk_bf16_matmul_bf16_avx2)

#define QK_FLUSHED_MATMUL(name, inner)                                                                         \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const uint16_t *x,   \
                      size_t x_stride, size_t tokens, float *y, size_t y_stride) {                             \
    const uint32_t state = qk_flush_subnormals();                                                              \
    inner(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);                                \
    qk_restore_subnormals(state);                                                                              \
  }

QK_FLUSHED_MATMUL(qk_bf16_matmul_bf16_avx512, pairs)
// The instruction flushes by itself; the sums of lanes don't.
QK_FLUSHED_MATMUL(qk_bf16_matmul_bf16_avx512bf16, dots)

#endif
