// Writing and reading keys and values.
#include "kv.h"

#define QK_BYTES(format, element)                                                               \
  size_t qk_kv_##format##_bytes(size_t dim) {                                                   \
    return qk_kv_scale_bytes(element, dim) + QK_PAGE_POSITIONS * qk_kv_row_bytes(element, dim); \
  }

QK_BYTES(f32, QK_KV_F32)
QK_BYTES(f16, QK_KV_F16)
QK_BYTES(q8, QK_KV_Q8)
QK_BYTES(q4, QK_KV_Q4)

// ---- 16 bits and floats --------

QK_INLINE uint8_t *row_of(qk_kv element, void *run, size_t dim, size_t position) {
  return (uint8_t *)run + qk_kv_scale_bytes(element, dim) + position * qk_kv_row_bytes(element, dim);
}

void qk_kv_f32_store_value(const float *x, size_t dim, size_t position, void *run) {
  memcpy(row_of(QK_KV_F32, run, dim, position), x, 4 * dim);
}

void qk_kv_f32_store_key(const float *x, size_t dim, size_t position, void *run) {
  for (size_t k = 0; k < dim; k++) memcpy((uint8_t *)run + 4 * qk_key_place(dim, position, k), x + k, 4);
}

void qk_kv_f16_store_value(const float *x, size_t dim, size_t position, void *run) {
  qk_f16_encode(x, row_of(QK_KV_F16, run, dim, position), dim);
}

void qk_kv_f16_store_key(const float *x, size_t dim, size_t position, void *run) {
  for (size_t k = 0; k < dim; k += 64) {
    uint16_t halves[64];
    const size_t count = dim - k < 64 ? dim - k : 64;
    qk_f16_encode(x + k, halves, count);
    uint8_t *target = (uint8_t *)run + 2 * qk_key_place(dim, position, k);
    for (size_t i = 0; i < count; i++) memcpy(target + 2 * QK_KEY_BLOCK * i, halves + i, 2);
  }
}

// ---- 8 bits --------

// Half to even, for |x| below 2^22.
QK_INLINE int32_t nearest(float x) { return (int32_t)(qk_bits_of(x + 0x1.8p23f) - 0x4b400000); }

// Code k is codes[k * stride].
QK_INLINE void store8(const float *x, size_t dim, float *scale, uint8_t *codes, size_t stride) {
  // As integers, magnitudes are ordered: finite, infinity, NaN.
  uint32_t largest = 0;
  for (size_t k = 0; k < dim; k++) {
    const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  *scale = qk_float_of(largest) / 127;
  const int is_finite = largest < 0x7f800000;
  for (size_t k = 0; k < dim; k++) {
    // A scale that is not finite shows in every product, also with 1; 0 times infinity is NaN too.
    int32_t code = is_finite ? 0 : 1;
    if (is_finite && *scale != 0) code = nearest(fminf(fmaxf(x[k] / *scale, -127), 127));
    codes[k * stride] = (uint8_t)(int8_t)code;
  }
}

void qk_kv_q8_store_value(const float *x, size_t dim, size_t position, void *run) {
  float scale;
  store8(x, dim, &scale, row_of(QK_KV_Q8, run, dim, position), 1);
  memcpy((uint8_t *)run + 4 * position, &scale, sizeof scale);
}

void qk_kv_q8_store_key(const float *x, size_t dim, size_t position, void *run) {
  float scale;
  uint8_t *codes = (uint8_t *)run + qk_kv_scale_bytes(QK_KV_Q8, dim) + qk_key_place(dim, position, 0);
  store8(x, dim, &scale, codes, QK_KEY_BLOCK);
  memcpy((uint8_t *)run + 4 * position, &scale, sizeof scale);
}

// ---- 4 bits --------

// A group of up to 32 elements: the smallest value m, steps of d up to the largest. All 16 bytes are written.
static void store_group(const float *x, size_t count, uint16_t scales[2], uint8_t bytes[16]) {
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
  scales[0] = d;
  scales[1] = m;
  memset(bytes, 0, 16);
  for (size_t k = 0; k < count; k++) {
    const float place = step > 0 && is_finite ? (x[k] - base) / step : 0;
    bytes[qk_kv4_unit(k)] |= (uint8_t)(nearest(fminf(fmaxf(place, 0), 15)) << qk_kv4_shift(k));
  }
}

QK_INLINE size_t count4(size_t dim, size_t k) { return dim - k < 32 ? dim - k : 32; }
// Bytes of the group from element k on.
QK_INLINE size_t bytes4(size_t dim, size_t k) { return qk_kv4_row(count4(dim, k)); }

void qk_kv_q4_store_value(const float *x, size_t dim, size_t position, void *run) {
  uint8_t *row = row_of(QK_KV_Q4, run, dim, position);
  for (size_t k = 0; k < dim; k += 32) {
    uint16_t scales[2];
    uint8_t bytes[16];
    store_group(x + k, count4(dim, k), scales, bytes);
    memcpy((uint8_t *)run + 4 * (qk_kv4_groups(dim) * position + k / 32), scales, 4);
    memcpy(row + k / 2, bytes, bytes4(dim, k));
  }
}

void qk_kv_q4_store_key(const float *x, size_t dim, size_t position, void *run) {
  uint8_t *units = (uint8_t *)run + qk_kv_scale_bytes(QK_KV_Q4, dim);
  for (size_t k = 0; k < dim; k += 32) {
    uint16_t scales[2];
    uint8_t bytes[16];
    store_group(x + k, count4(dim, k), scales, bytes);
    uint8_t *d = (uint8_t *)run + 2 * (k / 32 * 2 * QK_PAGE_POSITIONS + position);
    memcpy(d, scales, 2);
    memcpy(d + 2 * QK_PAGE_POSITIONS, scales + 1, 2);
    for (size_t u = 0; u < bytes4(dim, k); u++) {
      units[qk_key_place(qk_kv4_row(dim), position, k / 2 + u)] = bytes[u];
    }
  }
}

// ---- Reading --------

#define QK_DECODE(format, element)                                                                   \
  void qk_kv_##format##_decode_value(const void *run, size_t dim, size_t position, float *values) {  \
    const float scale = element == QK_KV_Q8 ? qk_load_f32(run, position) : 1;                        \
    for (size_t k = 0; k < dim; k++) values[k] = scale * qk_value_code(element, run, dim, position, k); \
  }                                                                                                  \
  void qk_kv_##format##_decode_key(const void *run, size_t dim, size_t position, float *values) {    \
    const float scale = element == QK_KV_Q8 ? qk_load_f32(run, position) : 1;                        \
    for (size_t k = 0; k < dim; k++) values[k] = scale * qk_key_code(element, run, dim, position, k); \
  }

QK_DECODE(f32, QK_KV_F32)
QK_DECODE(f16, QK_KV_F16)
QK_DECODE(q8, QK_KV_Q8)
QK_DECODE(q4, QK_KV_Q4)

void qk_kv_gather_rows(const void *side_by_side, size_t block, size_t unit, size_t units,
                       size_t positions, void *rows) {
  const uint8_t *source = side_by_side;
  uint8_t *target = rows;
  for (size_t p = 0; p < positions; p++) {
    for (size_t u = 0; u < units; u++) {
      const size_t place = (p / block * units + u) * block + p % block;
      memcpy(target + (p * units + u) * unit, source + place * unit, unit);
    }
  }
}

void qk_kv_scatter_rows(const void *rows, size_t block, size_t unit, size_t units, size_t positions,
                        void *side_by_side) {
  const uint8_t *source = rows;
  uint8_t *target = side_by_side;
  for (size_t p = 0; p < positions; p++) {
    for (size_t u = 0; u < units; u++) {
      const size_t place = (p / block * units + u) * block + p % block;
      memcpy(target + place * unit, source + (p * units + u) * unit, unit);
    }
  }
}

void qk_prefetch_run(const void *run, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)run + i, 0, 2);
}
