// Products of float formats with NEON: register tiles of rows x tokens, two vectors for the 8 lanes of each sum.
#include "lanes.h"
#include "twins.h"

#if QK_ARM

enum {
  ROWS = 4,
  TOKENS = 2, // 4 x 2 sums of 2 vectors, 2 x 2 activations and 2 weights fill 22 of 32 registers
};

typedef struct {
  float32x4_t low, high;
} eight;

QK_INLINE eight load(size_t element, int is_half, const uint8_t *source) {
  if (element == 4) {
    return (eight){vreinterpretq_f32_u8(vld1q_u8(source)), vreinterpretq_f32_u8(vld1q_u8(source + 16))};
  }
  const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(source));
  if (is_half) {
    const float16x8_t halves = vreinterpretq_f16_u16(bits);
    return (eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  return (eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                 vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}

// The first count (under 8) elements, then zeros.
QK_INLINE eight load_part(size_t element, int is_half, const uint8_t *source, size_t count) {
  uint8_t padded[32] = {0};
  memcpy(padded, source, count * element);
  return load(element, is_half, padded);
}

// As qk_sum_lanes.
QK_INLINE float sum_of(eight lanes) {
  const float32x4_t four = vaddq_f32(lanes.low, lanes.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

QK_INLINE void add(eight *sum, eight w, eight x) {
  sum->low = vfmaq_f32(sum->low, w.low, x.low);
  sum->high = vfmaq_f32(sum->high, w.high, x.high);
}

QK_INLINE void tile(size_t element, int is_half, const int rows, const int tokens,
                    const uint8_t *weights, size_t row_bytes, size_t columns, const float *x,
                    size_t x_stride, float *y, size_t y_stride) {
  eight sums[ROWS][TOKENS];
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { sums[r][t] = (eight){vdupq_n_f32(0), vdupq_n_f32(0)}; }
  }
  size_t k = 0;
  for (; k + 8 <= columns; k += 8) {
    eight a[TOKENS];
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      a[t] = load(4, 0, (const uint8_t *)(x + (size_t)t * x_stride + k));
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      const eight w = load(element, is_half, weights + (size_t)r * row_bytes + k * element);
      QK_UNROLL for (int t = 0; t < tokens; t++) { add(&sums[r][t], w, a[t]); }
    }
  }
  if (k < columns) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const eight a = load_part(4, 0, (const uint8_t *)(x + (size_t)t * x_stride + k), columns - k);
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8_t *source = weights + (size_t)r * row_bytes + k * element;
        add(&sums[r][t], load_part(element, is_half, source, columns - k), a);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { y[(size_t)t * y_stride + (size_t)r] = sum_of(sums[r][t]); }
  }
}

// A few rows, which stay in the first-level cache, times all tokens.
QK_INLINE void few_rows(size_t element, int is_half, const int rows, const uint8_t *weights,
                        size_t row_bytes, size_t columns, const float *x, size_t x_stride,
                        size_t tokens, float *y, size_t y_stride) {
  size_t t = 0;
  for (; t + TOKENS <= tokens; t += TOKENS) {
    tile(element, is_half, rows, TOKENS, weights, row_bytes, columns, x + t * x_stride, x_stride,
         y + t * y_stride, y_stride);
  }
  for (; t < tokens; t++) {
    tile(element, is_half, rows, 1, weights, row_bytes, columns, x + t * x_stride, x_stride,
         y + t * y_stride, y_stride);
  }
}

#define QK_MATMUL(name, element, is_half)                                                           \
  void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,     \
            size_t x_stride, size_t tokens, float *y, size_t y_stride) {                            \
    size_t r = 0;                                                                                   \
    for (; r + ROWS <= rows; r += ROWS) {                                                           \
      few_rows(element, is_half, ROWS, (const uint8_t *)weights + r * row_bytes, row_bytes, columns, \
               x, x_stride, tokens, y + r, y_stride);                                               \
    }                                                                                               \
    for (; r < rows; r++) {                                                                         \
      few_rows(element, is_half, 1, (const uint8_t *)weights + r * row_bytes, row_bytes, columns, x, \
               x_stride, tokens, y + r, y_stride);                                                  \
    }                                                                                               \
  }

QK_MATMUL(qk_f32_matmul_neon, 4, 0)
QK_MATMUL(qk_f16_matmul_neon, 2, 1)
QK_MATMUL(qk_bf16_matmul_neon, 2, 0)

void qk_f16_encode_neon(const float *values, void *target, size_t count) {
  uint8_t *out = target;
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const float16x4_t low = vcvt_f16_f32(vld1q_f32(values + k));
    const float16x8_t halves = vcvt_high_f16_f32(low, vld1q_f32(values + k + 4));
    vst1q_u8(out + 2 * k, vreinterpretq_u8_f16(halves));
  }
  for (; k < count; k++) {
    const uint16_t half = qk_float_to_half(values[k]);
    memcpy(out + 2 * k, &half, sizeof half);
  }
}

#endif
