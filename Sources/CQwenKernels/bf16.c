// bfloat16: the upper half of a float.
#include "lanes.h"
#include "twins.h"

#include <float.h>

void qk_bf16_decode(const void *source, float *values, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_bf16_decode_avx2(source, values, count);
    return;
  }
#endif
  for (size_t k = 0; k < count; k++) {
    values[k] = qk_load_bf16(source, k);
  }
}

void qk_bf16_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX512) {
    qk_bf16_matmul_avx512(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_bf16_matmul_avx2(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_bf16_matmul_neon(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  qk_matmul_scalar(qk_load_bf16, weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
}

void qk_bf16_encode(const float *values, void *target, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_bf16_encode_avx2(values, target, count);
    return;
  }
#endif
  uint8_t *out = target;
  for (size_t k = 0; k < count; k++) {
    const uint16_t bits = qk_float_to_bfloat(values[k]);
    memcpy(out + 2 * k, &bits, sizeof bits);
  }
}

// ---- Activations in bfloat16 --------
//
// The product is what vdpbf16ps computes: of a pair the upper product is added first, each by itself and fused, and
// subnormal numbers count as zero. That two fused multiply-adds do the same is how every set has these bits; bfdot and
// bfmmla of aarch64 round otherwise and are not used.

static float flushed(float value) { return fabsf(value) < FLT_MIN ? copysignf(0, value) : value; }

// As the processor does it: what is smaller than every normal number after it has been rounded to 24 bits becomes zero.
// A float of less than FLT_MIN has fewer bits than that, so it may have been rounded up to FLT_MIN wrongly; a double tells.
static float multiply_add(uint16_t w, uint16_t x, float sum) {
  const float a = flushed(qk_bfloat_to_float(w)), b = flushed(qk_bfloat_to_float(x));
  const float result = fmaf(a, b, sum);
  if (fabsf(result) == FLT_MIN && fabs((double)a * b + sum) < FLT_MIN * (1 - 0x1p-25)) {
    return copysignf(0, result);
  }
  return flushed(result);
}

static float bfloat_dot(const uint8_t *row, const uint16_t *x, size_t columns) {
  float lanes[8] = {0};
  for (size_t k = 0; k < columns; k += 16) {
    for (size_t l = 0; l < 8; l++) {
      const size_t low = k + 2 * l, high = low + 1;
      lanes[l] = multiply_add(high < columns ? qk_load_u16(row + 2 * high) : 0, high < columns ? x[high] : 0, lanes[l]);
      lanes[l] = multiply_add(low < columns ? qk_load_u16(row + 2 * low) : 0, low < columns ? x[low] : 0, lanes[l]);
    }
  }
  // As qk_sum_lanes.
  for (size_t distance = 4; distance > 0; distance /= 2) {
    for (size_t l = 0; l < distance; l++) lanes[l] = flushed(lanes[l] + lanes[l + distance]);
  }
  return lanes[0];
}

void qk_bf16_matmul_bf16(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                         const uint16_t *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    qk_bfloat_matmul *const twin = qk_isa() >= QK_ISA_AVX512BF16 ? qk_bf16_matmul_bf16_avx512bf16
                                   : qk_isa() >= QK_ISA_AVX512   ? qk_bf16_matmul_bf16_avx512
                                                                 : qk_bf16_matmul_bf16_avx2;
    twin(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#elif QK_ARM
  if (qk_isa() >= QK_ISA_NEON) {
    qk_bf16_matmul_bf16_neon(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);
    return;
  }
#endif
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *row = (const uint8_t *)weights + r * row_bytes;
    for (size_t t = 0; t < tokens; t++) y[t * y_stride + r] = bfloat_dot(row, x + t * x_stride, columns);
  }
}
