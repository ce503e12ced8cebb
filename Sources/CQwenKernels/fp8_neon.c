// Products of FP8 with NEON: 2 rows times up to 2 tokens, two vectors for the 8 lanes of each sum.
#include "fp8.h"
#include "lanes.h"

#if QK_ARM

enum { ROWS = 2, TOKENS = 2 }; // sums of a block and of a row: 16 vectors, with weights and activations 22 of 32

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

// 8 numbers as two vectors, 2^8 too small; what is no number comes out as one.
QK_INLINE void load8(uint8x8_t bytes, float32x4_t out[2]) {
  // The sign is everywhere above bit 6: of its copies, that in the exponent goes.
  const int16x8_t wide = vshll_n_s8(vreinterpret_s8_u8(bytes), 7);
  const float16x8_t half = vreinterpretq_f16_s16(vandq_s16(wide, vdupq_n_s16((int16_t)0xbfff)));
  out[0] = vcvt_f32_f16(vget_low_f16(half)), out[1] = vcvt_high_f32_f16(half);
}

// As qk_sum_lanes.
QK_INLINE float sum_of(const float32x4_t lanes[2]) {
  const float32x4_t four = vaddq_f32(lanes[0], lanes[1]);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

QK_INLINE void tile(const int rows, const int tokens, operands o) {
  float32x4_t totals[ROWS][TOKENS][2];
  uint8x16_t most[ROWS]; // magnitudes: 127 is no number
  QK_UNROLL for (int r = 0; r < rows; r++) {
    most[r] = vdupq_n_u8(0);
    QK_UNROLL for (int t = 0; t < tokens; t++) { totals[r][t][0] = totals[r][t][1] = vdupq_n_f32(0); }
  }
  for (size_t b = 0; b < o.columns / QK_FP8_BLOCK; b++) {
    const uint8_t *block = o.weights + b * QK_FP8_BYTES;
    const float *x = o.x + b * QK_FP8_BLOCK;
    float32x4_t sums[ROWS][TOKENS][2];
    QK_UNROLL for (int i = 0; i < ROWS * TOKENS; i++) {
      sums[i / TOKENS][i % TOKENS][0] = sums[i / TOKENS][i % TOKENS][1] = vdupq_n_f32(0);
    }
    for (size_t k = 0; k < QK_FP8_BLOCK; k += 16) {
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8x16_t bytes = vld1q_u8(block + (size_t)r * o.row_bytes + 4 + k);
        most[r] = vmaxq_u8(most[r], vandq_u8(bytes, vdupq_n_u8(0x7f)));
        QK_UNROLL for (size_t i = 0; i < 2; i++) {
          float32x4_t w[2];
          load8(i == 0 ? vget_low_u8(bytes) : vget_high_u8(bytes), w);
          QK_UNROLL for (int t = 0; t < tokens; t++) {
            const float *values = x + (size_t)t * o.x_stride + k + 8 * i;
            sums[r][t][0] = vfmaq_f32(sums[r][t][0], w[0], vld1q_f32(values));
            sums[r][t][1] = vfmaq_f32(sums[r][t][1], w[1], vld1q_f32(values + 4));
          }
        }
      }
    }
    QK_UNROLL for (int r = 0; r < rows; r++) {
      float scale;
      memcpy(&scale, block + (size_t)r * o.row_bytes, sizeof scale);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        totals[r][t][0] = vfmaq_n_f32(totals[r][t][0], sums[r][t][0], 256 * scale);
        totals[r][t][1] = vfmaq_n_f32(totals[r][t][1], sums[r][t][1], 256 * scale);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    const int has_none = vmaxvq_u8(most[r]) == 0x7f;
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      o.y[(size_t)t * o.y_stride + (size_t)r] = has_none ? qk_float_of(0x7fc00000) : sum_of(totals[r][t]);
    }
  }
}

// A few rows, which stay in the first-level cache, times all tokens.
QK_INLINE void few_rows(const int rows, size_t tokens, operands o) {
  for (; tokens >= TOKENS; tokens -= TOKENS) {
    tile(rows, TOKENS, o);
    o.x += TOKENS * o.x_stride;
    o.y += TOKENS * o.y_stride;
  }
  if (tokens > 0) tile(rows, 1, o);
}

void qk_fp8_matmul_neon(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,
                        size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  operands o = {weights, row_bytes, columns, x, x_stride, y, y_stride};
  for (; rows >= ROWS; rows -= ROWS) {
    few_rows(ROWS, tokens, o);
    o.weights += ROWS * row_bytes;
    o.y += ROWS;
  }
  if (rows > 0) few_rows(1, tokens, o);
}

#endif
