// Interleaved forms of formats made of parts: 16 rows side by side, so that one load serves 16 rows (or 8)
// and 4 activations are broadcast from memory.
//
// A row is a run of units: 4 bytes each, but for the bytes of a block that division by 4 leaves, which come
// first (2, then 1) or, where `is_tail` says so, last. The units that begin at byte o of 16 rows begin at byte
// 16 o of the group, one behind the other. So sizes are those of rows. A matrix whose rows are no multiple of
// 16 ends with rows of zeros.
#ifndef QK_PARTS_GROUPS_H
#define QK_PARTS_GROUPS_H

#include "parts.h"

enum { QK_GROUP_ROWS = 16, QK_MOST_ROW_OF_ONE = 256 };

typedef struct {
  size_t head;  // bytes before the blocks, a multiple of 4
  size_t bytes; // of a block
  int is_tail;
} qk_units;

// Bytes of the unit at offset `at` of a block.
QK_INLINE size_t qk_unit_at(qk_units units, size_t at) {
  const size_t odd = units.bytes % 4;
  if (units.is_tail) {
    return at + 4 <= units.bytes ? 4 : odd;
  }
  return at >= odd ? 4 : at == 0 && odd >= 2 ? 2 : 1;
}

// Interleaves the units of 16 heads or blocks, null ones being zeros.
QK_INLINE void qk_pack_units(qk_units units, const uint8_t *const from[QK_GROUP_ROWS], size_t count,
                             int is_head, uint8_t *target) {
  for (size_t at = 0; at < count;) {
    const size_t size = is_head ? 4 : qk_unit_at(units, at);
    for (size_t r = 0; r < QK_GROUP_ROWS; r++, target += size) {
      if (from[r] && size == 4) {
        memcpy(target, from[r] + at, 4);
      } else if (from[r]) {
        memcpy(target, from[r] + at, size);
      } else {
        memset(target, 0, size);
      }
    }
    at += size;
  }
}

// Gives a block other places for the same bits.
typedef void qk_move(const uint8_t *block, uint8_t *moved);

// Rows of `blocks` blocks to groups of 16; blocks are moved first, if at all.
QK_INLINE void qk_pack_groups(qk_units units, qk_move *move, const uint8_t *source, size_t row_bytes,
                              size_t rows, size_t blocks, uint8_t *target) {
  for (size_t first = 0; first < rows; first += QK_GROUP_ROWS) {
    const uint8_t *from[QK_GROUP_ROWS];
    for (size_t r = 0; r < QK_GROUP_ROWS; r++) {
      from[r] = first + r < rows ? source + (first + r) * row_bytes : 0;
    }
    qk_pack_units(units, from, units.head, 1, target);
    target += QK_GROUP_ROWS * units.head;
    for (size_t b = 0; b < blocks; b++, target += QK_GROUP_ROWS * units.bytes) {
      const uint8_t *block[QK_GROUP_ROWS];
      uint8_t moved[QK_GROUP_ROWS][QK_MOST_ROW_OF_ONE];
      for (size_t r = 0; r < QK_GROUP_ROWS; r++) {
        block[r] = from[r] ? from[r] + units.head + b * units.bytes : 0;
        if (move && block[r]) {
          move(block[r], moved[r]);
          block[r] = moved[r];
        }
      }
      qk_pack_units(units, block, units.bytes, 0, target);
    }
  }
}

// A block of one row of a group, behind the row's head: a row of one block.
QK_INLINE void qk_gather_row(qk_units units, const uint8_t *group, size_t block, size_t r,
                             uint8_t *row) {
  for (size_t at = 0; at < units.head; at += 4) {
    memcpy(row + at, group + QK_GROUP_ROWS * at + 4 * r, 4);
  }
  const uint8_t *from = group + QK_GROUP_ROWS * (units.head + block * units.bytes);
  for (size_t at = 0; at < units.bytes;) {
    const size_t size = qk_unit_at(units, at);
    memcpy(row + units.head + at, from + QK_GROUP_ROWS * at + size * r, size);
    at += size;
  }
}

// Makes a row of one block of a row of a group.
typedef void qk_gather(const uint8_t *group, size_t blocks, size_t block, size_t r, uint8_t *row);

QK_INLINE void qk_matmul_groups(qk_traits traits, qk_place_of *place, qk_factors *factors,
                                qk_gather *gather, const uint8_t *weights, size_t row_bytes,
                                size_t rows, size_t columns, const qk_a8_block *x, size_t x_stride,
                                size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r++) {
    const uint8_t *group = weights + r / QK_GROUP_ROWS * QK_GROUP_ROWS * row_bytes;
    for (size_t t = 0; t < tokens; t++) {
      float total = 0;
      for (size_t b = 0; b < blocks; b++) {
        uint8_t row[QK_MOST_ROW_OF_ONE];
        gather(group, blocks, b, r % QK_GROUP_ROWS, row);
        const qk_a8_block *block = x + t * x_stride + b * (size_t)traits.parts;
        total = qk_add_block(traits, place, factors, row, 1, 0, block, total);
      }
      y[t * y_stride + r] = total;
    }
  }
}

// The interleaved form of a format whose file has, besides what QK_PARTS_MATMUL wants, units_of(blocks) and gather; codes
// lie where group_place says, after `move` if that is not null.
#define QK_INTERLEAVED_PARTS(name, group_place, move)                                               \
  QK_GROUPS_TWINS(qk_##name##x16_matmul_a8, group_place)                                            \
  void qk_##name##x16_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns, \
                                const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,     \
                                size_t y_stride) {                                                  \
    QK_CHOOSE_GROUP_TWIN(qk_##name##x16_matmul_a8)                                                  \
    qk_matmul_groups(traits, place, factors, gather, weights, row_bytes, rows, columns, x,          \
                     x_stride, tokens, y, y_stride);                                                \
  }                                                                                                 \
  void qk_##name##x16_pack(const void *source, size_t row_bytes, size_t rows, size_t columns,       \
                           void *target) {                                                          \
    const size_t blocks = columns / 32 / (size_t)traits.parts;                                      \
    qk_pack_groups(units_of(blocks), move, source, row_bytes, rows, blocks, target);                \
  }                                                                                                 \
  void qk_##name##x16_decode(const void *group, size_t row, float *values, size_t count) {          \
    const size_t elements = 32 * (size_t)traits.parts;                                              \
    for (size_t b = 0; b < count / elements; b++) {                                                 \
      uint8_t one[QK_MOST_ROW_OF_ONE];                                                              \
      gather(group, count / elements, b, row, one);                                                 \
      qk_##name##_decode(one, values + b * elements, elements);                                     \
    }                                                                                               \
  }

// The same of a format whose rows have no head, or one that is alike for all lengths.
#define QK_PARTS_INTERLEAVED(name)                                                                  \
  static qk_units units_of(size_t blocks) {                                                         \
    (void)blocks;                                                                                   \
    return (qk_units){traits.head, traits.bytes, traits.is_tail};                                   \
  }                                                                                                 \
  static void gather(const uint8_t *group, size_t blocks, size_t block, size_t r, uint8_t *row) {   \
    qk_gather_row(units_of(blocks), group, block, r, row);                                          \
  }                                                                                                 \
  QK_INTERLEAVED_PARTS(name, place, 0)

#include "parts_groups_avx512.h"

#if !QK_X86 && !QK_ARM
#define QK_GROUPS_TWINS(name, place)
#endif

#endif
