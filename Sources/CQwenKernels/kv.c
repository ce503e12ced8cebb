// Writing and reading keys and values.
#include "kv.h"

size_t qk_kv_f32_bytes(size_t dim) { return QK_PAGE_POSITIONS * dim * 4; }

size_t qk_kv_f16_bytes(size_t dim) { return QK_PAGE_POSITIONS * dim * 2; }

size_t qk_kv_q8_bytes(size_t dim) { return QK_PAGE_POSITIONS * (dim + 4); }

size_t qk_kv_q4_bytes(size_t dim) {
  return QK_PAGE_POSITIONS * (4 * qk_kv4_groups(dim) + qk_kv4_row(dim));
}

void qk_kv_f32_store(const float *x, size_t dim, size_t position, void *run) {
  memcpy((uint8_t *)run + 4 * dim * position, x, 4 * dim);
}

void qk_kv_f16_store(const float *x, size_t dim, size_t position, void *run) {
  qk_f16_encode(x, (uint8_t *)run + 2 * dim * position, dim);
}

// Half to even, for |x| below 2^22.
QK_INLINE int32_t nearest(float x) { return (int32_t)(qk_bits_of(x + 0x1.8p23f) - 0x4b400000); }

void qk_kv_q8_store(const float *x, size_t dim, size_t position, void *run) {
  // As integers, magnitudes are ordered: finite, infinity, NaN.
  uint32_t largest = 0;
  for (size_t k = 0; k < dim; k++) {
    const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  const float scale = qk_float_of(largest) / 127;
  memcpy((uint8_t *)run + 4 * position, &scale, sizeof scale);
  int8_t *row = (int8_t *)run + 4 * QK_PAGE_POSITIONS + position * dim;
  if (largest >= 0x7f800000 || scale == 0) {
    // A scale that is not finite shows in every product, also with 1; 0 times infinity is NaN too.
    memset(row, largest >= 0x7f800000 ? 1 : 0, dim);
    return;
  }
  for (size_t k = 0; k < dim; k++) {
    row[k] = (int8_t)nearest(fminf(fmaxf(x[k] / scale, -127), 127));
  }
}

// A group of up to 32 elements: the smallest value m, steps of d up to the largest.
static void store_group(const float *x, size_t count, uint8_t *scales, uint8_t *bytes) {
  float least = x[0];
  float most = x[0];
  int is_finite = 1;
  for (size_t k = 0; k < count; k++) {
    least = x[k] < least ? x[k] : least;
    most = x[k] > most ? x[k] : most;
    is_finite &= (qk_bits_of(x[k]) & 0x7fffffff) < 0x7f800000;
  }
  const uint16_t m = is_finite ? qk_float_to_half(least) : 0x7e00;
  const float base = qk_half_to_float(m);
  // Half precision may round the base up or the step down: what then lies outside is cut off.
  const uint16_t d = is_finite ? qk_float_to_half((most - base) / 15) : 0x7e00;
  const float step = qk_half_to_float(d);
  memcpy(scales, &d, 2);
  memcpy(scales + 2, &m, 2);
  for (size_t k = 0; k < count; k++) {
    const float place = step > 0 && is_finite ? (x[k] - base) / step : 0;
    const int32_t q = nearest(fminf(fmaxf(place, 0), 15));
    uint8_t *byte = bytes + k / 16 * 8 + k % 8;
    *byte = (uint8_t)(k / 8 % 2 ? *byte | q << 4 : q);
  }
}

void qk_kv_q4_store(const float *x, size_t dim, size_t position, void *run) {
  uint8_t *scales = (uint8_t *)run + 4 * qk_kv4_groups(dim) * position;
  uint8_t *bytes = (uint8_t *)run + 4 * qk_kv4_groups(dim) * QK_PAGE_POSITIONS +
                   qk_kv4_row(dim) * position;
  memset(bytes, 0, qk_kv4_row(dim));
  for (size_t k = 0; k < dim; k += 32) {
    const size_t count = dim - k < 32 ? dim - k : 32;
    store_group(x + k, count, scales + k / 32 * 4, bytes + k / 2);
  }
}

#define QK_DECODE(format, element)                                                              \
  void qk_kv_##format##_decode(const void *run, size_t dim, size_t position, float *values) {   \
    for (size_t k = 0; k < dim; k++) {                                                          \
      values[k] = qk_kv_value(element, run, dim, position, k);                                  \
    }                                                                                           \
  }

QK_DECODE(f32, QK_KV_F32)
QK_DECODE(f16, QK_KV_F16)
QK_DECODE(q8, QK_KV_Q8)
QK_DECODE(q4, QK_KV_Q4)

void qk_prefetch_run(const void *run, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)run + i, 0, 2);
}
