// Products of float formats with AVX2 and FMA: register tiles of rows x tokens, one vector of 8
// lanes each.
#include "simd.h"
#include "twins.h"

#if QK_X86

enum {
  ROWS = 4,   // of a tile: enough sums in flight for one token, and weights are unpacked once for
  TOKENS = 3, // so many tokens; 4 x 3 sums, 3 activations and 1 weight fill the 16 registers
  // Bytes of weights that stay in the second-level cache while all tokens pass.
  RESIDENT_BYTES = 128 << 10,
};

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

QK_INLINE QK_AVX2 void tile(qk_element element, const int rows, const int tokens, operands o) {
  const size_t bytes = qk_element_bytes(element);
  __m256 sums[ROWS * TOKENS];
  QK_UNROLL for (int i = 0; i < rows * tokens; i++) { sums[i] = _mm256_setzero_ps(); }
  const uint8_t *ahead = o.weights + qk_prefetch_distance((size_t)rows * o.row_bytes);
  size_t k = 0;
  for (; k + 8 <= o.columns; k += 8) {
    if (tokens == 1) {
      // A line several times and to the first-level cache: what is asked for while all buffers are taken is dropped.
      QK_UNROLL for (int r = 0; r < rows; r++) {
        _mm_prefetch((const char *)ahead + k * bytes + (size_t)r * o.row_bytes, _MM_HINT_T0);
      }
    }
    __m256 x[TOKENS];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      x[t] = _mm256_loadu_ps(o.x + (size_t)t * o.x_stride + k);
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const uint8_t *source = o.weights + (size_t)r * o.row_bytes + k * bytes;
      const __m256 w = qk_load8(element, source);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        sums[r * tokens + t] = _mm256_fmadd_ps(w, x[t], sums[r * tokens + t]);
        if (tokens == TOKENS) {
          // The next weight is loaded after this: with one more in flight the compiler spills sums.
          __asm__ volatile("" : "+x"(sums[r * tokens + t])::"memory");
        }
      }
    }
  }
  if (k < o.columns) {
    const size_t rest = o.columns - k;
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m256 x =
          qk_load_part(QK_F32, (const uint8_t *)(o.x + (size_t)t * o.x_stride + k), rest);
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const __m256 w =
            qk_load_part(element, o.weights + (size_t)r * o.row_bytes + k * bytes, rest);
        sums[r * tokens + t] = _mm256_fmadd_ps(w, x, sums[r * tokens + t]);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    QK_UNROLL for (int r = 0; r < rows; r++) {
      o.y[(size_t)t * o.y_stride + (size_t)r] = qk_sum8(sums[r * tokens + t]);
    }
  }
}

// All rows of a few tokens.
QK_INLINE QK_AVX2 void column(qk_element element, const int tokens, size_t rows, operands o) {
  for (; rows >= ROWS; rows -= ROWS) {
    tile(element, ROWS, tokens, o);
    o.weights += ROWS * o.row_bytes;
    o.y += ROWS;
  }
  for (; rows > 0; rows--) {
    tile(element, 1, tokens, o);
    o.weights += o.row_bytes;
    o.y += 1;
  }
}

QK_INLINE QK_AVX2 void matmul(qk_element element, size_t rows, size_t tokens, operands o) {
  size_t resident = RESIDENT_BYTES / (o.row_bytes + 1) / ROWS * ROWS;
  resident = resident < ROWS ? ROWS : resident;
  for (size_t first = 0; first < rows; first += resident) {
    const size_t count = rows - first < resident ? rows - first : resident;
    operands part = o;
    part.weights += first * o.row_bytes;
    part.y += first;
    size_t left = tokens;
    for (; left >= TOKENS; left -= TOKENS) {
      column(element, TOKENS, count, part);
      part.x += TOKENS * o.x_stride;
      part.y += TOKENS * o.y_stride;
    }
    if (left == 2) {
      column(element, 2, count, part);
    } else if (left == 1) {
      column(element, 1, count, part);
    }
  }
}

#define QK_MATMUL(name, element)                                                                \
  QK_AVX2 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,         \
                    const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) { \
    const operands o = {weights, row_bytes, columns, x, x_stride, y, y_stride};                 \
    matmul(element, rows, tokens, o);                                                           \
  }

QK_MATMUL(qk_f32_matmul_avx2, QK_F32)
QK_MATMUL(qk_f16_matmul_avx2, QK_F16)
QK_MATMUL(qk_bf16_matmul_avx2, QK_BF16)

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

#endif
