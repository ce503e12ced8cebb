// Products of float formats with AVX-512: a vector holds the 8 lanes of two rows, so that sums have
// the same shape, and the same bits, as with AVX2.
#include "simd.h"
#include "twins.h"

#if QK_X86

enum {
  PAIRS = 4,  // pairs of rows in a tile
  TOKENS = 6, // 4 x 6 sums, 6 activations and 1 weight fill 31 of 32 registers
  RESIDENT_BYTES = 256 << 10,
};

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

// 8 elements of one row, then 8 of another.
QK_INLINE QK_AVX512 __m512 load_pair(qk_element element, const uint8_t *a, const uint8_t *b) {
  if (element == QK_F32) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps((const float *)a)),
                              _mm256_loadu_ps((const float *)b), 1);
  }
  const __m256i bits =
      _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
                              _mm_loadu_si128((const __m128i *)b), 1);
  if (element == QK_F16) {
    return _mm512_cvtph_ps(bits);
  }
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

QK_INLINE QK_AVX512 void tile(qk_element element, const int pairs, const int tokens, operands o) {
  const size_t bytes = qk_element_bytes(element);
  __m512 sums[PAIRS * TOKENS];
  QK_UNROLL for (int i = 0; i < pairs * tokens; i++) { sums[i] = _mm512_setzero_ps(); }
  size_t k = 0;
  for (; k + 8 <= o.columns; k += 8) {
    __m512 x[TOKENS];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      x[t] = _mm512_broadcast_f32x8(_mm256_loadu_ps(o.x + (size_t)t * o.x_stride + k));
    }
    QK_UNROLL for (int r = 0; r < pairs; r++) {
      const uint8_t *a = o.weights + (size_t)(2 * r) * o.row_bytes + k * bytes;
      const __m512 w = load_pair(element, a, a + o.row_bytes);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        sums[r * tokens + t] = _mm512_fmadd_ps(w, x[t], sums[r * tokens + t]);
      }
    }
  }
  if (k < o.columns) {
    const size_t rest = o.columns - k;
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const uint8_t *source = (const uint8_t *)(o.x + (size_t)t * o.x_stride + k);
      const __m512 x = _mm512_broadcast_f32x8(qk_load_part(QK_F32, source, rest));
      QK_UNROLL for (int r = 0; r < pairs; r++) {
        const uint8_t *a = o.weights + (size_t)(2 * r) * o.row_bytes + k * bytes;
        const __m512 w = _mm512_insertf32x8(
            _mm512_castps256_ps512(qk_load_part(element, a, rest)),
            qk_load_part(element, a + o.row_bytes, rest), 1);
        sums[r * tokens + t] = _mm512_fmadd_ps(w, x, sums[r * tokens + t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int r = 0; r < pairs; r++) {
      const __m512 sum = sums[r * tokens + t];
      float *y = o.y + (size_t)t * o.y_stride + 2 * r;
      y[0] = qk_sum8(_mm512_castps512_ps256(sum));
      y[1] = qk_sum8(_mm512_extractf32x8_ps(sum, 1));
    }
  }
}

QK_INLINE QK_AVX512 void column(qk_element element, const int tokens, size_t rows, operands o) {
  for (; rows >= 2 * PAIRS; rows -= 2 * PAIRS) {
    tile(element, PAIRS, tokens, o);
    o.weights += 2 * PAIRS * o.row_bytes;
    o.y += 2 * PAIRS;
  }
  for (; rows >= 2; rows -= 2) {
    tile(element, 1, tokens, o);
    o.weights += 2 * o.row_bytes;
    o.y += 2;
  }
}

// Fewer than TOKENS tokens, or one odd row, are the work of the AVX2 twin: a tile of 4 rows and 1
// token already runs at the speed of memory.
QK_INLINE QK_AVX512 void matmul(qk_element element, qk_float_matmul *rest, size_t rows,
                                size_t tokens, operands o) {
  size_t resident = RESIDENT_BYTES / (o.row_bytes + 1) / (2 * PAIRS) * (2 * PAIRS);
  resident = resident < 2 * PAIRS ? 2 * PAIRS : resident;
  const size_t tiled = tokens / TOKENS * TOKENS;
  for (size_t first = 0; first < rows / 2 * 2; first += resident) {
    const size_t count = rows / 2 * 2 - first < resident ? rows / 2 * 2 - first : resident;
    operands part = o;
    part.weights += first * o.row_bytes;
    part.y += first;
    for (size_t t = 0; t < tiled; t += TOKENS) {
      column(element, TOKENS, count, part);
      part.x += TOKENS * o.x_stride;
      part.y += TOKENS * o.y_stride;
    }
  }
  if (rows % 2 == 1 && tiled > 0) {
    rest(o.weights + (rows - 1) * o.row_bytes, o.row_bytes, 1, o.columns, o.x, o.x_stride, tiled,
         o.y + rows - 1, o.y_stride);
  }
  if (tiled < tokens) {
    rest(o.weights, o.row_bytes, rows, o.columns, o.x + tiled * o.x_stride, o.x_stride,
         tokens - tiled, o.y + tiled * o.y_stride, o.y_stride);
  }
}

#define QK_MATMUL(name, element, rest)                                                          \
  QK_AVX512 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,       \
                      const float *x, size_t x_stride, size_t tokens, float *y,                 \
                      size_t y_stride) {                                                        \
    const operands o = {weights, row_bytes, columns, x, x_stride, y, y_stride};                 \
    matmul(element, rest, rows, tokens, o);                                                     \
  }

QK_MATMUL(qk_f32_matmul_avx512, QK_F32, qk_f32_matmul_avx2)
QK_MATMUL(qk_f16_matmul_avx512, QK_F16, qk_f16_matmul_avx2)
QK_MATMUL(qk_bf16_matmul_avx512, QK_BF16, qk_bf16_matmul_avx2)

#endif
