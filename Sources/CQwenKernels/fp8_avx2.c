// Products of FP8 with AVX2: 4 rows times up to 3 tokens, one vector of 8 lanes each, in the sum shape of the other
// float products.
#include "fp8.h"
#include "simd.h"

#if QK_X86

enum { ROWS = 4, TOKENS = 3 };

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

// 8 numbers of a block whose float, times 256, is in every lane of `scale`.
QK_INLINE QK_AVX2 __m256 load8(const uint8_t *source, __m256 scale) {
  const __m128i bytes = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)source));
  const __m128i rest = _mm_and_si128(bytes, _mm_set1_epi16(0x7f));
  const __m128i sign = _mm_slli_epi16(_mm_xor_si128(bytes, rest), 8);
  const __m128i is_nan = _mm_cmpeq_epi16(rest, _mm_set1_epi16(0x7f));
  const __m128i half = _mm_or_si128(sign, _mm_slli_epi16(rest, 7));
  const __m128i nan = _mm_and_si128(is_nan, _mm_set1_epi16(0x7e00));
  return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(half, nan)), scale);
}

QK_INLINE QK_AVX2 void tile(const int rows, const int tokens, operands o) {
  __m256 sums[ROWS * TOKENS];
  QK_UNROLL for (int i = 0; i < rows * tokens; i++) { sums[i] = _mm256_setzero_ps(); }
  const uint8_t *ahead = o.weights + qk_prefetch_distance((size_t)rows * o.row_bytes);
  for (size_t b = 0; b < o.columns / QK_FP8_BLOCK; b++) {
    const uint8_t *block = o.weights + b * QK_FP8_BYTES;
    __m256 scale[ROWS];
    QK_UNROLL for (int r = 0; r < rows; r++) {
      float value;
      memcpy(&value, block + (size_t)r * o.row_bytes, sizeof value);
      scale[r] = _mm256_set1_ps(256 * value);
    }
    qk_prefetch(ahead + (size_t)rows * b * QK_FP8_BYTES, ROWS * QK_FP8_BYTES);
    for (size_t k = 0; k < QK_FP8_BLOCK; k += 8) {
      __m256 w[ROWS];
      QK_UNROLL for (int r = 0; r < rows; r++) {
        w[r] = load8(block + (size_t)r * o.row_bytes + 4 + k, scale[r]);
      }
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const float *values = o.x + (size_t)t * o.x_stride + b * QK_FP8_BLOCK + k;
        const __m256 x = _mm256_loadu_ps(values);
        QK_UNROLL for (int r = 0; r < rows; r++) {
          sums[r * tokens + t] = _mm256_fmadd_ps(w[r], x, sums[r * tokens + t]);
        }
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int r = 0; r < rows; r++) {
      o.y[(size_t)t * o.y_stride + (size_t)r] = qk_sum8(sums[r * tokens + t]);
    }
  }
}

QK_INLINE QK_AVX2 void few_rows(const int rows, size_t tokens, operands o) {
  for (; tokens >= TOKENS; tokens -= TOKENS) {
    tile(rows, TOKENS, o);
    o.x += TOKENS * o.x_stride;
    o.y += TOKENS * o.y_stride;
  }
  for (; tokens > 0; tokens--) {
    tile(rows, 1, o);
    o.x += o.x_stride;
    o.y += o.y_stride;
  }
}

QK_AVX2 void qk_fp8_matmul_avx2(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                                const float *x, size_t x_stride, size_t tokens, float *y,
                                size_t y_stride) {
  operands o = {weights, row_bytes, columns, x, x_stride, y, y_stride};
  for (; rows >= ROWS; rows -= ROWS) {
    few_rows(ROWS, tokens, o);
    o.weights += ROWS * row_bytes;
    o.y += ROWS;
  }
  for (; rows > 0; rows--) {
    few_rows(1, tokens, o);
    o.weights += row_bytes;
    o.y++;
  }
}

#endif
