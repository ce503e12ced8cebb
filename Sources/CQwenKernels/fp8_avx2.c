// Products of FP8 with AVX2: 4 rows times up to 3 tokens, one vector of 8 lanes each.
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

// 16 bytes as two vectors of 8 numbers, 2^8 too small; what is no number comes out as one.
QK_INLINE QK_AVX2 void load16(const uint8_t *source, __m256 out[2]) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)source));
  // The sign is everywhere above bit 6: of its copies, that in the exponent goes.
  const __m256i half = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16((short)0xbfff));
  out[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
  out[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
}

// A byte of ones for each byte that is no number.
QK_INLINE QK_AVX2 __m256i no_numbers(const uint8_t *source) {
  const __m256i most = _mm256_set1_epi8(0x7f);
  const __m256i bytes = _mm256_loadu_si256((const __m256i *)source);
  return _mm256_cmpeq_epi8(_mm256_and_si256(bytes, most), most);
}

QK_INLINE QK_AVX2 void tile(const int rows, const int tokens, operands o) {
  __m256 totals[ROWS * TOKENS];
  __m256i bad[ROWS];
  QK_UNROLL for (int i = 0; i < rows * tokens; i++) { totals[i] = _mm256_setzero_ps(); }
  QK_UNROLL for (int r = 0; r < rows; r++) { bad[r] = _mm256_setzero_si256(); }
  const uint8_t *ahead = o.weights + qk_prefetch_distance((size_t)rows * o.row_bytes);
  for (size_t b = 0; b < o.columns / QK_FP8_BLOCK; b++) {
    const uint8_t *block = o.weights + b * QK_FP8_BYTES;
    const float *x = o.x + b * QK_FP8_BLOCK;
    qk_prefetch(ahead + (size_t)rows * b * QK_FP8_BYTES, ROWS * QK_FP8_BYTES);
    __m256 sums[ROWS * TOKENS];
    QK_UNROLL for (int i = 0; i < rows * tokens; i++) { sums[i] = _mm256_setzero_ps(); }
    for (size_t k = 0; k < QK_FP8_BLOCK; k += 32) {
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8_t *source = block + (size_t)r * o.row_bytes + 4 + k;
        bad[r] = _mm256_or_si256(bad[r], no_numbers(source));
      }
      QK_UNROLL for (size_t i = 0; i < 32; i += 16) {
        QK_UNROLL for (int r = 0; r < rows; r++) {
          __m256 w[2];
          load16(block + (size_t)r * o.row_bytes + 4 + k + i, w);
          QK_UNROLL for (int t = 0; t < tokens; t++) {
            const float *values = x + (size_t)t * o.x_stride + k + i;
            const int at = r * tokens + t;
            sums[at] = _mm256_fmadd_ps(w[0], _mm256_loadu_ps(values), sums[at]);
            sums[at] = _mm256_fmadd_ps(w[1], _mm256_loadu_ps(values + 8), sums[at]);
          }
        }
      }
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      float scale;
      memcpy(&scale, block + (size_t)r * o.row_bytes, sizeof scale);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const int at = r * tokens + t;
        totals[at] = _mm256_fmadd_ps(sums[at], _mm256_set1_ps(256 * scale), totals[at]);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    const int is_bad = !_mm256_testz_si256(bad[r], bad[r]);
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const float sum = qk_sum8(totals[r * tokens + t]);
      o.y[(size_t)t * o.y_stride + (size_t)r] = is_bad ? qk_float_of(0x7fc00000) : sum;
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
