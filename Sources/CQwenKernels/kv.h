// Quantised keys and values: how the positions of one head in one page lie in memory.
//
// 8 bits: a float scale for each of the 64 positions, then the rows, dim signed bytes each; the value
// is scale * q. 4 bits: for each position, 4 bytes for every 32 elements: half-precision d and m;
// then the rows, 8 bytes for every 16 elements, element k < 8 in the low half of byte k, k + 8 in the
// high one; the value is fma(d, q, m). Attention over them equals attention over the floats they
// decode to, bit for bit.
#ifndef QK_KV_H
#define QK_KV_H

#include "lanes.h"

// How keys and values lie. Known when compiled wherever it is a parameter.
typedef enum { QK_KV_F32, QK_KV_F16, QK_KV_Q8, QK_KV_Q4 } qk_kv;

QK_INLINE size_t qk_kv4_groups(size_t dim) { return (dim + 31) / 32; }
QK_INLINE size_t qk_kv4_row(size_t dim) { return (dim + 15) / 16 * 8; }

QK_INLINE const uint8_t *qk_kv8_row(const void *run, size_t dim, size_t position) {
  return (const uint8_t *)run + 4 * QK_PAGE_POSITIONS + position * dim;
}

QK_INLINE const uint8_t *qk_kv4_scales(const void *run, size_t dim, size_t position) {
  return (const uint8_t *)run + 4 * qk_kv4_groups(dim) * position;
}

QK_INLINE const uint8_t *qk_kv4_bytes_of(const void *run, size_t dim, size_t position) {
  return (const uint8_t *)run + 4 * qk_kv4_groups(dim) * QK_PAGE_POSITIONS +
         qk_kv4_row(dim) * position;
}

QK_INLINE float qk_kv8_value(const void *run, size_t dim, size_t position, size_t k) {
  float scale;
  memcpy(&scale, (const uint8_t *)run + 4 * position, sizeof scale);
  return scale * (float)(int8_t)qk_kv8_row(run, dim, position)[k];
}

QK_INLINE float qk_kv4_value(const void *run, size_t dim, size_t position, size_t k) {
  const uint8_t *scales = qk_kv4_scales(run, dim, position) + k / 32 * 4;
  const uint8_t byte = qk_kv4_bytes_of(run, dim, position)[k / 16 * 8 + k % 8];
  const float q = (float)(byte >> (k / 8 % 2 * 4) & 15);
  return fmaf(qk_half_to_float(qk_load_u16(scales)), q, qk_half_to_float(qk_load_u16(scales + 2)));
}

QK_INLINE float qk_kv_value(qk_kv element, const uint8_t *run, size_t dim, size_t position,
                            size_t k) {
  switch (element) {
  case QK_KV_F32: return qk_load_f32(run, position * dim + k);
  case QK_KV_F16: return qk_load_f16(run, position * dim + k);
  case QK_KV_Q8: return qk_kv8_value(run, dim, position, k);
  default: return qk_kv4_value(run, dim, position, k);
  }
}

#endif
