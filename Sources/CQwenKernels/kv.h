// Keys and values: how the positions of one head in one page lie in memory.
//
// Values are rows, one a position. 16 bits and floats: dim elements. 8 bits: a float scale for each of the 64 positions,
// then the rows, dim signed bytes each; the value is scale * q. 4 bits: for each position, 4 bytes for every 32 elements:
// half-precision d and m; then the rows, 8 bytes for every 16 elements, element k < 8 in the low half of byte k, k + 8
// in the high one; the value is fma(d, q, m).
//
// Keys are the same units (elements, or bytes of two) with 16 positions side by side: unit u of position p is the
// ((p / 16) units + u) 16 + p % 16th. A vector then holds one element of many positions, so that a score needs no sum over
// lanes. The d and m of 4 bits have all 64 positions side by side.
//
// Attention over 4 bits equals attention over the floats they decode to, bit for bit. Over 8 bits it multiplies codes, and
// scores and weights by scales.
#ifndef QK_KV_H
#define QK_KV_H

#include "lanes.h"

// How keys and values lie. Known when compiled wherever it is a parameter.
typedef enum { QK_KV_F32, QK_KV_F16, QK_KV_Q8, QK_KV_Q4 } qk_kv;

// Positions of keys side by side.
enum { QK_KEY_BLOCK = 16 };

QK_INLINE size_t qk_kv4_groups(size_t dim) { return (dim + 31) / 32; }
QK_INLINE size_t qk_kv4_row(size_t dim) { return (dim + 15) / 16 * 8; }
// The byte of a row that holds element k, and where in it.
QK_INLINE size_t qk_kv4_unit(size_t k) { return k / 16 * 8 + k % 8; }
QK_INLINE unsigned qk_kv4_shift(size_t k) { return (unsigned)(k / 8 % 2 * 4); }

// Bytes of scales at the start of a run.
QK_INLINE size_t qk_kv_scale_bytes(qk_kv element, size_t dim) {
  switch (element) {
  case QK_KV_Q8: return 4 * QK_PAGE_POSITIONS;
  case QK_KV_Q4: return 4 * qk_kv4_groups(dim) * QK_PAGE_POSITIONS;
  default: return 0;
  }
}

// Bytes of a row of values behind them.
QK_INLINE size_t qk_kv_row_bytes(qk_kv element, size_t dim) {
  switch (element) {
  case QK_KV_F32: return 4 * dim;
  case QK_KV_F16: return 2 * dim;
  case QK_KV_Q8: return dim;
  default: return qk_kv4_row(dim);
  }
}

// Bytes of so many elements.
QK_INLINE size_t qk_kv_span(qk_kv element, size_t count) {
  switch (element) {
  case QK_KV_F32: return 4 * count;
  case QK_KV_F16: return 2 * count;
  case QK_KV_Q8: return count;
  default: return count / 2;
  }
}

QK_INLINE const uint8_t *qk_kv_row_at(qk_kv element, const void *run, size_t dim, size_t position) {
  return (const uint8_t *)run + qk_kv_scale_bytes(element, dim) + position * qk_kv_row_bytes(element, dim);
}

QK_INLINE const uint8_t *qk_kv4_scales(const void *run, size_t dim, size_t position) {
  return (const uint8_t *)run + 4 * qk_kv4_groups(dim) * position;
}

// Element k of the values of a position; of 8 bits the code.
QK_INLINE float qk_value_code(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k) {
  const uint8_t *row = qk_kv_row_at(element, run, dim, position);
  switch (element) {
  case QK_KV_F32: return qk_load_f32(row, k);
  case QK_KV_F16: return qk_load_f16(row, k);
  case QK_KV_Q8: return (float)(int8_t)row[k];
  default: {
    const uint8_t *scales = qk_kv4_scales(run, dim, position) + k / 32 * 4;
    const float q = (float)(row[qk_kv4_unit(k)] >> qk_kv4_shift(k) & 15);
    return fmaf(qk_load_f16(scales, 0), q, qk_load_f16(scales, 1));
  }
  }
}

// Which unit of the keys of a run unit u of a position is, `units` to a position.
QK_INLINE size_t qk_key_place(size_t units, size_t position, size_t u) {
  return (position / QK_KEY_BLOCK * units + u) * QK_KEY_BLOCK + position % QK_KEY_BLOCK;
}

// Where element k of the keys of a position lies.
QK_INLINE const uint8_t *qk_key_units(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k) {
  const uint8_t *units = run + qk_kv_scale_bytes(element, dim);
  switch (element) {
  case QK_KV_F32: return units + 4 * qk_key_place(dim, position, k);
  case QK_KV_F16: return units + 2 * qk_key_place(dim, position, k);
  case QK_KV_Q8: return units + qk_key_place(dim, position, k);
  default: return units + qk_key_place(qk_kv4_row(dim), position, qk_kv4_unit(k));
  }
}

// Element k of the keys of a position; of 8 bits the code.
QK_INLINE float qk_key_code(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k) {
  const uint8_t *units = run + qk_kv_scale_bytes(element, dim);
  switch (element) {
  case QK_KV_F32: return qk_load_f32(units, qk_key_place(dim, position, k));
  case QK_KV_F16: return qk_load_f16(units, qk_key_place(dim, position, k));
  case QK_KV_Q8: return (float)(int8_t)units[qk_key_place(dim, position, k)];
  default: {
    const size_t d = k / 32 * 2 * QK_PAGE_POSITIONS + position;
    const uint8_t byte = units[qk_key_place(qk_kv4_row(dim), position, qk_kv4_unit(k))];
    return fmaf(qk_load_f16(run, d), (float)(byte >> qk_kv4_shift(k) & 15),
                qk_load_f16(run, d + QK_PAGE_POSITIONS));
  }
  }
}

#endif
