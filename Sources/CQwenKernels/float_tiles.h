// Products of float formats, included by the file of an instruction set: tiles of rows by tokens in registers.
//
// Rows are read as they lie and made floats as they are loaded. Some rows and some tokens stay in the second-level cache
// until all of the ones have met all of the others.
//
// Before it the file defines vector, TILE_ROWS and TILE_TOKENS (a tile is TILE_VECTORS vectors of rows by up to TILE_TOKENS
// tokens), QK_SET, and the functions zero, spread, load_rows, half_of, multiply_add and store_sums.
#ifndef QK_FLOAT_TILES_H
#define QK_FLOAT_TILES_H

#include "simd.h"

#if QK_X86

enum {
  TILE_VECTORS = 4,
  VECTOR_ROWS = TILE_ROWS / TILE_VECTORS,
  // What stays in the second-level cache, of weights and of activations: measured with 1 MiB of it. With 4096 columns 16 rows
  // of F32 are 256 KiB, 6 tokens 96; less of rows is far slower, more of tokens somewhat.
  ROWS_BYTES = 512 << 10,
  TOKENS_BYTES = 128 << 10,
};

// The last step of a vector's rows, of which they have `rest` bytes, and zeros behind them. Out of line: rare.
static __attribute__((noinline)) QK_SET vector last_rows(qk_element element, const uint8_t *rows, size_t row_bytes,
                                                         size_t rest) {
  uint8_t padded[VECTOR_ROWS][32] = {0};
  for (size_t r = 0; r < VECTOR_ROWS; r++) memcpy(padded[r], rows + r * row_bytes, rest);
  return load_rows(element, padded[0], 32);
}

// The activations that meet them.
static __attribute__((noinline)) QK_SET vector last_activations(qk_element element, const uint8_t *x, size_t rest) {
  uint8_t padded[32] = {0};
  memcpy(padded, x, rest * 4 / qk_lane_bytes(element));
  return spread(padded);
}

// One step of 8 lanes: x has the activations of each token, spread over the rows of a vector. Of rows only `rest` bytes are
// left, if that is not 0.
QK_INLINE QK_SET void step(qk_element element, const int vectors, const int tokens, const uint8_t *weights,
                           size_t row_bytes, size_t rest, const vector x[TILE_TOKENS],
                           vector sums[TILE_VECTORS * TILE_TOKENS]) {
  const int halves = qk_halves(element);
  QK_UNROLL for (int h = 0; h < halves; h++) {
    vector part[TILE_TOKENS];
    QK_UNROLL for (int t = 0; t < tokens; t++) { part[t] = half_of(element, h, x[t]); }
    QK_UNROLL for (int v = 0; v < vectors; v++) {
      const uint8_t *rows = weights + (size_t)(v * VECTOR_ROWS) * row_bytes;
      const vector lanes = rest > 0 ? last_rows(element, rows, row_bytes, rest) : load_rows(element, rows, row_bytes);
      const vector w = half_of(element, h, lanes);
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        vector *sum = &sums[v * tokens + t];
        *sum = multiply_add(element, tokens == TILE_TOKENS, w, part[t], *sum);
      }
    }
  }
}

// Up to TILE_TOKENS tokens. In every step a line from `ahead` on is asked for, or without it lines of the next rows.
QK_INLINE QK_SET void tile(qk_element element, const int vectors, const int tokens, const uint8_t *ahead,
                           qk_float_operands o) {
  const size_t turn = 8 * qk_lane_bytes(element), bytes = o.columns * qk_element_bytes(element);
  const size_t rows = (size_t)(vectors * VECTOR_ROWS), distance = qk_prefetch_distance(rows * o.row_bytes);
  const uint8_t *weights = o.weights, *x = o.x;
  vector sums[TILE_VECTORS * TILE_TOKENS], now[TILE_TOKENS];
  QK_UNROLL for (int i = 0; i < vectors * tokens; i++) { sums[i] = zero(); }
  for (const uint8_t *end = weights + bytes / turn * turn; weights != end; weights += turn, x += 32) {
    if (!ahead && tokens == 1) {
      // The rows of a tile are one run of bytes. In rising order, whatever order they are read in: two threads read 43 GB/s so,
      // 36 when the lines of each row were asked for.
      const uint8_t *next = o.weights + distance + (size_t)(weights - o.weights) * rows;
      QK_UNROLL for (size_t i = 0; i < rows * turn; i += 64) { _mm_prefetch((const char *)next + i, _MM_HINT_T0); }
    } else if (!ahead) {
      // A line several times and to the first-level cache: what is asked for while all buffers are taken is dropped.
      QK_UNROLL for (size_t r = 0; r < rows; r++) {
        _mm_prefetch((const char *)weights + distance + r * o.row_bytes, _MM_HINT_T0);
      }
    } else {
      _mm_prefetch((const char *)ahead + 2 * (x - o.x), _MM_HINT_T1);
    }
    QK_UNROLL for (int t = 0; t < tokens; t++) { now[t] = spread(x + (size_t)t * o.x_bytes); }
    step(element, vectors, tokens, weights, o.row_bytes, 0, now, sums);
  }
  const size_t rest = bytes % turn;
  if (rest > 0) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { now[t] = last_activations(element, x + (size_t)t * o.x_bytes, rest); }
    step(element, vectors, tokens, weights, o.row_bytes, rest, now, sums);
  }
  QK_UNROLL for (int v = 0; v < vectors; v++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      store_sums(sums[v * tokens + t], o.y + (size_t)t * o.y_stride + v * VECTOR_ROWS);
    }
  }
}

// What is to be in the second-level cache next: activations or rows.
typedef struct {
  const uint8_t *next, *end;
} run;

QK_INLINE QK_SET void column(qk_element element, const int tokens, size_t rows, run *ahead, qk_float_operands o) {
  const size_t lines = o.columns * qk_element_bytes(element) / qk_lane_bytes(element) / 8 * 64;
  for (; rows >= TILE_ROWS; rows -= TILE_ROWS) {
    if (!ahead) {
      tile(element, TILE_VECTORS, tokens, 0, o);
    } else {
      tile(element, TILE_VECTORS, tokens, ahead->next < ahead->end ? ahead->next : o.x, o);
      ahead->next += lines;
    }
    o.weights += TILE_ROWS * o.row_bytes;
    o.y += TILE_ROWS;
  }
  for (; rows > 0; rows -= VECTOR_ROWS) {
    tile(element, 1, tokens, o.x, o);
    o.weights += VECTOR_ROWS * o.row_bytes;
    o.y += VECTOR_ROWS;
  }
}

// Rows, a multiple of VECTOR_ROWS, times up to TILE_TOKENS tokens.
QK_INLINE QK_SET void column_of(qk_element element, size_t tokens, size_t rows, run *ahead, qk_float_operands o) {
  switch (tokens) {
  case 1: column(element, 1, rows, ahead, o); break;
  case 2: column(element, 2, rows, ahead, o); break;
#if TILE_TOKENS > 3
  case 3: column(element, 3, rows, ahead, o); break;
  case 4: column(element, 4, rows, ahead, o); break;
  case 5: column(element, 5, rows, ahead, o); break;
#endif
  default: column(element, TILE_TOKENS, rows, ahead, o);
  }
}

// How many rows of so many bytes are to stay in a cache: a multiple of unit.
QK_INLINE size_t resident(size_t room, size_t bytes, size_t unit) {
  const size_t count = room / (bytes + 1) / unit * unit;
  return count < unit ? unit : count;
}

// Rows, a multiple of VECTOR_ROWS, times all tokens.
QK_INLINE QK_SET void rows_product(qk_element element, size_t rows, size_t tokens, qk_float_operands o) {
  const size_t some_rows = resident(ROWS_BYTES, o.row_bytes, TILE_ROWS);
  const size_t parts = tokens == 0 ? 0 : (tokens - 1) / resident(TOKENS_BYTES, o.x_bytes, TILE_TOKENS) + 1;
  for (size_t first = 0; first < rows; first += some_rows) {
    const size_t count = rows - first < some_rows ? rows - first : some_rows;
    for (size_t p = 0; p < parts; p++) {
      const size_t begin = tokens * p / parts, end = tokens * (p + 1) / parts;
      run ahead = {o.x + end * o.x_bytes, o.x + tokens * (p + 2) / parts * o.x_bytes};
      if (p + 1 == parts) {
        ahead.next = o.weights + (first + count) * o.row_bytes;
        ahead.end = ahead.next + count * o.row_bytes;
      }
      // Groups of equal size as far as that goes.
      const size_t groups = (end - begin + TILE_TOKENS - 1) / TILE_TOKENS;
      for (size_t g = 0; g < groups; g++) {
        const size_t t = begin + (end - begin) * g / groups;
        qk_float_operands part = o;
        part.weights += first * o.row_bytes;
        part.x += t * o.x_bytes;
        part.y += t * o.y_stride + first;
        column_of(element, begin + (end - begin) * (g + 1) / groups - t, count, p + g == 0 ? 0 : &ahead, part);
      }
    }
  }
}

#endif
#endif
