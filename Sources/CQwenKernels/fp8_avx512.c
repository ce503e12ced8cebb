// Products of FP8 with AVX-512: a vector holds the 8 lanes of two rows, so that sums have the same shape, and the
// same bits, as with AVX2.
#include "fp8.h"
#include "simd.h"

#if QK_X86

enum {
  PAIRS = 4,  // pairs of rows in a tile
  TOKENS = 3, // 4 x 3 sums and as many totals, 2 weights
};

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

// 16 bytes of each of two rows, twice.
QK_INLINE QK_AVX512 __m512i load_pair(const uint8_t *a, const uint8_t *b) {
  const __m512i first = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)a));
  return _mm512_mask_broadcast_i32x4(first, 0xff00, _mm_loadu_si128((const __m128i *)b));
}

// These as two vectors of 16 numbers, 8 of the first row and 8 of the other, 2^120 too small; what is no number comes out
// as one.
QK_INLINE QK_AVX512 void numbers(__m512i bytes, __m512 out[2]) {
  // Bytes l and l + 8 of a row become the upper bytes of the words of its lane l; moved by 4, they are floats but for
  // copies of the sign.
  const __m512i places = _mm512_broadcast_i64x4(
      _mm256_setr_epi8(-1, 0, -1, 8, -1, 1, -1, 9, -1, 2, -1, 10, -1, 3, -1, 11, -1, 4, -1, 12, -1, 5,
                       -1, 13, -1, 6, -1, 14, -1, 7, -1, 15));
  const __m512i mask = _mm512_set1_epi32((int)0x87f00000);
  const __m512i words = _mm512_srai_epi16(_mm512_shuffle_epi8(bytes, places), 4);
  out[0] = _mm512_castsi512_ps(_mm512_and_si512(_mm512_slli_epi32(words, 16), mask));
  out[1] = _mm512_castsi512_ps(_mm512_and_si512(words, mask));
}

QK_INLINE QK_AVX512 __m512 eight_twice(const float *x) {
  return _mm512_broadcast_f32x8(_mm256_load_ps(x));
}

QK_INLINE QK_AVX512 __m512 scales_of(const uint8_t *a, const uint8_t *b) {
  float scale[2];
  memcpy(scale, a, sizeof *scale);
  memcpy(scale + 1, b, sizeof *scale);
  const __m256 first = _mm256_set1_ps(QK_FP8_REST * scale[0]);
  return _mm512_insertf32x8(_mm512_castps256_ps512(first), _mm256_set1_ps(QK_FP8_REST * scale[1]), 1);
}

// A block of activations times QK_FP8_LIFT.
QK_INLINE QK_AVX512 void lift(const float *x, float *lifted) {
  for (size_t k = 0; k < QK_FP8_BLOCK; k += 16) {
    const __m512 values = _mm512_mul_ps(_mm512_loadu_ps(x + k), _mm512_set1_ps(QK_FP8_LIFT));
    _mm512_store_ps(lifted + k, values);
  }
}

QK_INLINE QK_AVX512 void tile(const int pairs, const int tokens, operands o) {
  __m512 totals[PAIRS * TOKENS];
  __m512i most[PAIRS]; // of twice each byte: 254 where one is no number
  QK_UNROLL for (int i = 0; i < pairs * tokens; i++) { totals[i] = _mm512_setzero_ps(); }
  QK_UNROLL for (int r = 0; r < pairs; r++) { most[r] = _mm512_setzero_si512(); }
  const size_t rows = 2 * (size_t)pairs;
  const uint8_t *ahead = o.weights + qk_prefetch_distance(rows * o.row_bytes);
  for (size_t b = 0; b < o.columns / QK_FP8_BLOCK; b++) {
    const uint8_t *block = o.weights + b * QK_FP8_BYTES;
    _Alignas(64) float lifted[TOKENS][QK_FP8_BLOCK];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      lift(o.x + (size_t)t * o.x_stride + b * QK_FP8_BLOCK, lifted[t]);
    }
    if (tokens == 1) {
      qk_prefetch(ahead + rows * b * QK_FP8_BYTES, rows * QK_FP8_BYTES);
    }
    __m512 sums[PAIRS * TOKENS];
    QK_UNROLL for (int i = 0; i < pairs * tokens; i++) { sums[i] = _mm512_setzero_ps(); }
    for (size_t k = 0; k < QK_FP8_BLOCK; k += 16) {
      QK_UNROLL for (int r = 0; r < pairs; r++) {
        const uint8_t *a = block + (size_t)(2 * r) * o.row_bytes + 4 + k;
        const __m512i bytes = load_pair(a, a + o.row_bytes);
        most[r] = _mm512_max_epu8(most[r], _mm512_add_epi8(bytes, bytes));
        __m512 w[2];
        numbers(bytes, w);
        QK_UNROLL for (int t = 0; t < tokens; t++) {
          const float *values = lifted[t] + k;
          const int at = r * tokens + t;
          sums[at] = _mm512_fmadd_ps(w[0], eight_twice(values), sums[at]);
          sums[at] = _mm512_fmadd_ps(w[1], eight_twice(values + 8), sums[at]);
        }
      }
    }
    QK_UNROLL for (int r = 0; r < pairs; r++) {
      const uint8_t *a = block + (size_t)(2 * r) * o.row_bytes;
      const __m512 scales = scales_of(a, a + o.row_bytes);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        const int at = r * tokens + t;
        totals[at] = _mm512_fmadd_ps(sums[at], scales, totals[at]);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < pairs; r++) {
    // Bytes of a row: the lower half; of the other: the upper.
    const uint64_t bad = _mm512_cmpeq_epi8_mask(most[r], _mm512_set1_epi8((char)254));
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m512 total = totals[r * tokens + t];
      float *y = o.y + (size_t)t * o.y_stride + 2 * r;
      const float nan = qk_float_of(0x7fc00000);
      y[0] = (uint32_t)bad != 0 ? nan : qk_sum8(_mm512_castps512_ps256(total));
      y[1] = bad >> 32 != 0 ? nan : qk_sum8(_mm512_extractf32x8_ps(total, 1));
    }
  }
}

QK_INLINE QK_AVX512 void few_rows(const int pairs, size_t tokens, operands o) {
  for (; tokens >= TOKENS; tokens -= TOKENS) {
    tile(pairs, TOKENS, o);
    o.x += TOKENS * o.x_stride;
    o.y += TOKENS * o.y_stride;
  }
  for (; tokens > 0; tokens--) {
    tile(pairs, 1, o);
    o.x += o.x_stride;
    o.y += o.y_stride;
  }
}

// The last one to 7 rows are the work of the AVX2 twin.
QK_AVX512 void qk_fp8_matmul_avx512(const void *weights, size_t row_bytes, size_t rows,
                                    size_t columns, const float *x, size_t x_stride, size_t tokens,
                                    float *y, size_t y_stride) {
  operands o = {weights, row_bytes, columns, x, x_stride, y, y_stride};
  for (; rows >= 2 * PAIRS; rows -= 2 * PAIRS) {
    few_rows(PAIRS, tokens, o);
    o.weights += 2 * PAIRS * row_bytes;
    o.y += 2 * PAIRS;
  }
  qk_fp8_matmul_avx2(o.weights, row_bytes, rows, columns, x, x_stride, tokens, o.y, y_stride);
}

#endif
