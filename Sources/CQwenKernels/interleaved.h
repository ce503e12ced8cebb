// Interleaved forms of blocked formats: 16 rows side by side, so that one load serves 16 rows (or 8)
// and 4 activations are broadcast from memory.
//
// A group of 16 rows is a run of groups of blocks: first the half-precision
// numbers of a block (16 times the first, then 16 times the second, if there is one), then all that
// is behind them, words of 4 bytes: word w of row r is word 16 w + r. A matrix whose rows are no multiple of 16 ends
// with rows of zeros. Sizes are those of the row-major form.
#ifndef QK_INTERLEAVED_H
#define QK_INTERLEAVED_H

#include "blocks.h"

enum { QK_GROUP = 16, QK_MOST_BLOCK_BYTES = 144 };

typedef struct {
  size_t halves; // half-precision numbers in a block
  size_t words;  // of 4 bytes, behind them
} qk_block_layout;

QK_INLINE size_t qk_layout_bytes(qk_block_layout layout) {
  return 2 * layout.halves + 4 * layout.words;
}

// Rows of blocks to groups of 16.
QK_INLINE void qk_interleave(qk_block_layout layout, const uint8_t *source, size_t row_bytes,
                             size_t rows, size_t blocks, uint8_t *target) {
  const size_t bytes = qk_layout_bytes(layout);
  for (size_t first = 0; first < rows; first += QK_GROUP) {
    for (size_t b = 0; b < blocks; b++, target += QK_GROUP * bytes) {
      for (size_t r = 0; r < QK_GROUP; r++) {
        static const uint8_t zeros[QK_MOST_BLOCK_BYTES];
        const uint8_t *block =
            first + r < rows ? source + (first + r) * row_bytes + b * bytes : zeros;
        for (size_t h = 0; h < layout.halves; h++) {
          memcpy(target + 2 * (QK_GROUP * h + r), block + 2 * h, 2);
        }
        uint8_t *words = target + 2 * QK_GROUP * layout.halves;
        for (size_t w = 0; w < layout.words; w++) {
          memcpy(words + 4 * (QK_GROUP * w + r), block + 2 * layout.halves + 4 * w, 4);
        }
      }
    }
  }
}

// The block of one row of a group of blocks, as in the row-major form.
QK_INLINE void qk_gather_block(qk_block_layout layout, const uint8_t *group, size_t row,
                               uint8_t *block) {
  for (size_t h = 0; h < layout.halves; h++) {
    memcpy(block + 2 * h, group + 2 * (QK_GROUP * h + row), 2);
  }
  const uint8_t *words = group + 2 * QK_GROUP * layout.halves;
  for (size_t w = 0; w < layout.words; w++) {
    memcpy(block + 2 * layout.halves + 4 * w, words + 4 * (QK_GROUP * w + row), 4);
  }
}

#endif
