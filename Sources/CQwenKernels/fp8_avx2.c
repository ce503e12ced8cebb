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

// 16 bytes as two vectors of 8 numbers, 2^120 too small; what is no number comes out as one.
QK_INLINE QK_AVX2 void load16(const uint8_t *source, __m256 out[2]) {
  const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)source));
  // Bytes l and l + 8 become the upper bytes of the words of lane l; moved by 4, they are floats but for copies of the
  // sign.
  const __m256i places = _mm256_setr_epi8(-1, 0, -1, 8, -1, 1, -1, 9, -1, 2, -1, 10, -1, 3, -1, 11,
                                          -1, 4, -1, 12, -1, 5, -1, 13, -1, 6, -1, 14, -1, 7, -1, 15);
  const __m256i mask = _mm256_set1_epi32((int)0x87f00000);
  const __m256i words = _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, places), 4);
  out[0] = _mm256_castsi256_ps(_mm256_and_si256(_mm256_slli_epi32(words, 16), mask));
  out[1] = _mm256_castsi256_ps(_mm256_and_si256(words, mask));
}

// Twice each byte: 254 where it is no number.
QK_INLINE QK_AVX2 __m256i doubled(const uint8_t *source) {
  const __m256i bytes = _mm256_loadu_si256((const __m256i *)source);
  return _mm256_add_epi8(bytes, bytes);
}

// A block of activations times QK_FP8_LIFT.
QK_INLINE QK_AVX2 void lift(const float *x, float *lifted) {
  for (size_t k = 0; k < QK_FP8_BLOCK; k += 8) {
    const __m256 values = _mm256_mul_ps(_mm256_loadu_ps(x + k), _mm256_set1_ps(QK_FP8_LIFT));
    _mm256_store_ps(lifted + k, values);
  }
}

QK_INLINE QK_AVX2 void tile(const int rows, const int tokens, operands o) {
  __m256 totals[ROWS * TOKENS];
  __m256i most[ROWS]; // of twice each byte
  QK_UNROLL for (int i = 0; i < rows * tokens; i++) { totals[i] = _mm256_setzero_ps(); }
  QK_UNROLL for (int r = 0; r < rows; r++) { most[r] = _mm256_setzero_si256(); }
  const uint8_t *ahead = o.weights + qk_prefetch_distance((size_t)rows * o.row_bytes);
  for (size_t b = 0; b < o.columns / QK_FP8_BLOCK; b++) {
    const uint8_t *block = o.weights + b * QK_FP8_BYTES;
    _Alignas(32) float lifted[TOKENS][QK_FP8_BLOCK];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      lift(o.x + (size_t)t * o.x_stride + b * QK_FP8_BLOCK, lifted[t]);
    }
    qk_prefetch(ahead + (size_t)rows * b * QK_FP8_BYTES, ROWS * QK_FP8_BYTES);
    __m256 sums[ROWS * TOKENS];
    QK_UNROLL for (int i = 0; i < rows * tokens; i++) { sums[i] = _mm256_setzero_ps(); }
    for (size_t k = 0; k < QK_FP8_BLOCK; k += 32) {
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8_t *source = block + (size_t)r * o.row_bytes + 4 + k;
        most[r] = _mm256_max_epu8(most[r], doubled(source));
      }
      QK_UNROLL for (size_t i = 0; i < 32; i += 16) {
        QK_UNROLL for (int r = 0; r < rows; r++) {
          __m256 w[2];
          load16(block + (size_t)r * o.row_bytes + 4 + k + i, w);
          QK_UNROLL for (int t = 0; t < tokens; t++) {
            const float *values = lifted[t] + k + i;
            const int at = r * tokens + t;
            sums[at] = _mm256_fmadd_ps(w[0], _mm256_load_ps(values), sums[at]);
            sums[at] = _mm256_fmadd_ps(w[1], _mm256_load_ps(values + 8), sums[at]);
          }
        }
      }
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      float scale;
      memcpy(&scale, block + (size_t)r * o.row_bytes, sizeof scale);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const int at = r * tokens + t;
        totals[at] = _mm256_fmadd_ps(sums[at], _mm256_set1_ps(QK_FP8_REST * scale), totals[at]);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    const __m256i bad = _mm256_cmpeq_epi8(most[r], _mm256_set1_epi8((char)254));
    const int is_bad = !_mm256_testz_si256(bad, bad);
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
