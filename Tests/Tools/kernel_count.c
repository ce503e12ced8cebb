// One product a number of times, for counting what it executes (count_plugin.c): the difference of two numbers of times
// is the product alone.
//
//   kernel_count FORMAT[x16] SET TOKENS TIMES     64 rows of 2048 columns
#include <CQwenKernels.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void float_product(const void *, size_t, size_t, size_t, const float *, size_t, size_t, float *, size_t);
typedef void block_product(const void *, size_t, size_t, size_t, const qk_a8_block *, size_t, size_t, float *, size_t);

static const struct {
  const char *name;
  size_t block, bytes;
  float_product *floats;
  block_product *blocks;
} formats[] = {
#define FLOATS(name, block, bytes) {#name, block, bytes, qk_##name##_matmul, 0},
#define BLOCKS(name, block, bytes) {#name, block, bytes, 0, qk_##name##_matmul_a8}, {#name "x16", block, bytes, 0, qk_##name##x16_matmul_a8},
    FLOATS(f32, 1, 4) FLOATS(f16, 1, 2) FLOATS(bf16, 1, 2) FLOATS(fp8, 128, 132)
    BLOCKS(q4_0, 32, 18) BLOCKS(q4_1, 32, 20) BLOCKS(q5_0, 32, 22) BLOCKS(q5_1, 32, 24) BLOCKS(q8_0, 32, 34)
    BLOCKS(q2_k, 256, 84) BLOCKS(q3_k, 256, 110) BLOCKS(q4_k, 256, 144) BLOCKS(q5_k, 256, 176) BLOCKS(q6_k, 256, 210)
    BLOCKS(iq4_nl, 32, 18) BLOCKS(iq4_xs, 256, 136) BLOCKS(z4_32, 32, 19) BLOCKS(z4_64, 64, 35) BLOCKS(z8, 32, 36)
    BLOCKS(nf4, 64, 36) BLOCKS(fp4, 64, 36) BLOCKS(int8, 32, 32) BLOCKS(nf4_double, 64, 33)
};

int main(int count, char **arguments) {
  enum { ROWS = 64, COLUMNS = 2048 };
  if (count != 5) return 2;
  const int32_t set = atoi(arguments[2]);
  const size_t tokens = (size_t)atoi(arguments[3]);
  if (qk_cpu_force(set) != set) return 3;
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
    if (strcmp(formats[f].name, arguments[1]) != 0) continue;
    // All bytes are zeros, which takes as long as others. Room for what rows begin with.
    const size_t row_bytes = 64 + COLUMNS / formats[f].block * formats[f].bytes;
    void *weights = calloc(ROWS, row_bytes);
    float *x = calloc(tokens * COLUMNS, sizeof *x);
    qk_a8_block *a8 = calloc(tokens * COLUMNS / 32, sizeof *a8);
    float *y = calloc(tokens * ROWS, sizeof *y);
    if (!weights || !x || !a8 || !y) return 1;
    for (int i = 0; i < atoi(arguments[4]); i++) {
      if (formats[f].floats) formats[f].floats(weights, row_bytes, ROWS, COLUMNS, x, COLUMNS, tokens, y, ROWS);
      else formats[f].blocks(weights, row_bytes, ROWS, COLUMNS, a8, COLUMNS / 32, tokens, y, ROWS);
    }
    return 0;
  }
  return 2;
}
