// Speed of the products: decode in GB/s of weights (one token, more weights than caches hold) and
// prefill in GMAC/s (many tokens), for each format and instruction set; first checks that all sets
// give equal bits.
//
//   clang -O3 -fno-math-errno -ISources/CQwenKernels/include Tests/Tools/kernel_bench.c
//     Sources/CQwenKernels/*.c -lm -o kernel_bench
//   ./kernel_bench [columns] [tokens] [format]
#include <CQwenKernels.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void float_product(const void *, size_t, size_t, size_t, const float *, size_t, size_t,
                           float *, size_t);
typedef void block_product(const void *, size_t, size_t, size_t, const qk_a8_block *, size_t,
                           size_t, float *, size_t);

static size_t four(size_t columns) {
  (void)columns;
  return 4;
}

// The activations in bfloat16, a line of cache more from one token to the next.
static uint16_t *rounded;
static void bf16_by_bf16(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x, size_t x_stride,
                         size_t tokens, float *y, size_t y_stride) {
  (void)x, (void)x_stride;
  qk_bf16_matmul_bf16(weights, row_bytes, rows, columns, rounded, columns + 32, tokens, y, y_stride);
}

static const struct {
  const char *name;
  size_t block, bytes;
  int halves; // half-precision numbers at a block's start, or -1 for a float
  size_t (*head)(size_t); // bytes before the blocks of a row of so many columns
  float_product *floats;
  block_product *blocks;
  void (*pack)(const void *, size_t, size_t, size_t, void *); // of interleaved forms
} formats[] = {
    {"f32", 1, 4, 0, 0, qk_f32_matmul, 0, 0},
    {"f16", 1, 2, 1, 0, qk_f16_matmul, 0, 0},
    {"bf16", 1, 2, 0, 0, qk_bf16_matmul, 0, 0},
    {"bf16_by_bf16", 1, 2, 0, 0, bf16_by_bf16, 0, 0},
    {"fp8", 128, 132, -1, 0, qk_fp8_matmul, 0, 0},
    {"q4_0", 32, 18, 1, 0, 0, qk_q4_0_matmul_a8, 0},
    {"q4_1", 32, 20, 2, 0, 0, qk_q4_1_matmul_a8, 0},
    {"q5_0", 32, 22, 1, 0, 0, qk_q5_0_matmul_a8, 0},
    {"q5_1", 32, 24, 2, 0, 0, qk_q5_1_matmul_a8, 0},
    {"q8_0", 32, 34, 1, 0, 0, qk_q8_0_matmul_a8, 0},
    {"q2_k", 256, 84, 0, 0, 0, qk_q2_k_matmul_a8, 0},
    {"q3_k", 256, 110, 0, 0, 0, qk_q3_k_matmul_a8, 0},
    {"q4_k", 256, 144, 2, 0, 0, qk_q4_k_matmul_a8, 0},
    {"q5_k", 256, 176, 2, 0, 0, qk_q5_k_matmul_a8, 0},
    {"q6_k", 256, 210, 0, 0, 0, qk_q6_k_matmul_a8, 0},
    {"iq4_nl", 32, 18, 1, 0, 0, qk_iq4_nl_matmul_a8, 0},
    {"iq4_xs", 256, 136, 1, 0, 0, qk_iq4_xs_matmul_a8, 0},
    {"z4_32", 32, 19, 1, 0, 0, qk_z4_32_matmul_a8, 0},
    {"z4_64", 64, 35, 1, 0, 0, qk_z4_64_matmul_a8, 0},
    {"z8", 32, 36, 1, 0, 0, qk_z8_matmul_a8, 0},
    {"nf4", 64, 36, -1, 0, 0, qk_nf4_matmul_a8, 0},
    {"nf4_double", 64, 33, 0, qk_nf4_double_head_bytes, 0, qk_nf4_double_matmul_a8, 0},
    {"fp4", 64, 36, -1, 0, 0, qk_fp4_matmul_a8, 0},
    {"int8", 32, 32, 0, four, 0, qk_int8_matmul_a8, 0},
    {"q4_0x16", 32, 18, 1, 0, 0, qk_q4_0x16_matmul_a8, qk_q4_0x16_pack},
    {"q4_1x16", 32, 20, 2, 0, 0, qk_q4_1x16_matmul_a8, qk_q4_1x16_pack},
    {"q5_0x16", 32, 22, 1, 0, 0, qk_q5_0x16_matmul_a8, qk_q5_0x16_pack},
    {"q5_1x16", 32, 24, 2, 0, 0, qk_q5_1x16_matmul_a8, qk_q5_1x16_pack},
    {"q8_0x16", 32, 34, 1, 0, 0, qk_q8_0x16_matmul_a8, qk_q8_0x16_pack},
    {"q2_kx16", 256, 84, 0, 0, 0, qk_q2_kx16_matmul_a8, qk_q2_kx16_pack},
    {"q3_kx16", 256, 110, 0, 0, 0, qk_q3_kx16_matmul_a8, qk_q3_kx16_pack},
    {"q4_kx16", 256, 144, 2, 0, 0, qk_q4_kx16_matmul_a8, qk_q4_kx16_pack},
    {"q5_kx16", 256, 176, 2, 0, 0, qk_q5_kx16_matmul_a8, qk_q5_kx16_pack},
    {"q6_kx16", 256, 210, 0, 0, 0, qk_q6_kx16_matmul_a8, qk_q6_kx16_pack},
    {"iq4_nlx16", 32, 18, 1, 0, 0, qk_iq4_nlx16_matmul_a8, qk_iq4_nlx16_pack},
    {"iq4_xsx16", 256, 136, 1, 0, 0, qk_iq4_xsx16_matmul_a8, qk_iq4_xsx16_pack},
    {"z4_32x16", 32, 19, 1, 0, 0, qk_z4_32x16_matmul_a8, qk_z4_32x16_pack},
    {"z4_64x16", 64, 35, 1, 0, 0, qk_z4_64x16_matmul_a8, qk_z4_64x16_pack},
    {"z8x16", 32, 36, 1, 0, 0, qk_z8x16_matmul_a8, qk_z8x16_pack},
    {"nf4x16", 64, 36, -1, 0, 0, qk_nf4x16_matmul_a8, qk_nf4x16_pack},
    {"nf4_doublex16", 64, 33, 0, qk_nf4_double_head_bytes, 0, qk_nf4_doublex16_matmul_a8, qk_nf4_doublex16_pack},
    {"fp4x16", 64, 36, -1, 0, 0, qk_fp4x16_matmul_a8, qk_fp4x16_pack},
    {"int8x16", 32, 32, 0, four, 0, qk_int8x16_matmul_a8, qk_int8x16_pack},
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t seed = 1;
static uint32_t next(void) {
  seed = seed * 1664525 + 1013904223;
  return seed >> 8;
}
static float number(void) { return (float)(next() & 0xffff) / 32768 - 1; }

static void *allocate(size_t bytes) {
  void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!memory) exit(1);
  return memory;
}

static size_t row_size(size_t f, size_t columns) {
  const size_t head = formats[f].head ? formats[f].head(columns) : 0;
  return head + columns / formats[f].block * formats[f].bytes;
}

static void make_block(size_t f, uint8_t *block) {
  if (formats[f].block == 1) {
    const float value = number();
    if (formats[f].bytes == 4) memcpy(block, &value, 4);
    else if (formats[f].halves) qk_f16_encode(&value, block, 1);
    else memcpy(block, (const uint8_t *)&value + 2, 2);
    return;
  }
  // Any bytes will do, but for those of numbers that are none.
  for (size_t i = 0; i < formats[f].bytes; i++) block[i] = (uint8_t)next() & 0x3b;
  float scales[2] = {number() / 8, number()};
  if (formats[f].halves >= 0) qk_f16_encode(scales, block, (size_t)formats[f].halves);
  else memcpy(block, scales, sizeof *scales);
}

static uint8_t *make_weights(size_t f, size_t rows, size_t columns) {
  const size_t row_bytes = row_size(f, columns);
  const size_t head = row_bytes - columns / formats[f].block * formats[f].bytes;
  uint8_t *weights = allocate(rows * row_bytes);
  for (size_t r = 0; r < rows; r++) {
    uint8_t *row = weights + r * row_bytes;
    for (size_t i = 0; i < head; i += 4) {
      const float value = number() / 8;
      memcpy(row + i, &value, 4);
    }
    for (size_t i = head; i < row_bytes; i += formats[f].bytes) make_block(f, row + i);
  }
  return weights;
}

static void run(size_t f, const uint8_t *weights, size_t rows, size_t columns, const float *x,
                const qk_a8_block *blocks, size_t tokens, float *y) {
  const size_t row_bytes = row_size(f, columns);
  if (formats[f].floats) {
    formats[f].floats(weights, row_bytes, rows, columns, x, columns, tokens, y, rows);
  } else {
    formats[f].blocks(weights, row_bytes, rows, columns, blocks, columns / 32, tokens, y, rows);
  }
}

static double best_time(size_t f, const uint8_t *weights, size_t rows, size_t columns,
                        const float *x, const qk_a8_block *blocks, size_t tokens, float *y) {
  double best = 1e9;
  const double end = now() + 0.7;
  do {
    const double start = now();
    run(f, weights, rows, columns, x, blocks, tokens, y);
    const double took = now() - start;
    best = took < best ? took : best;
  } while (now() < end);
  return best;
}

// Attention of some queries over 64 pages, in GMAC/s: scores and weighted values.
static void attention(size_t queries) {
  enum { DIM = 128, PAGES = 64 };
  const size_t page = QK_PAGE_POSITIONS * DIM;
  uint16_t *cache = allocate(PAGES * 2 * page * 2);
  float *q = allocate(queries * DIM * 4);
  float *out = allocate(queries * DIM * 4);
  float *state = allocate(queries * 2 * 4);
  int32_t *limits = allocate(queries * 2 * 4);
  for (size_t i = 0; i < PAGES * 2 * page; i++) {
    const float value = number();
    qk_f16_encode(&value, cache + i, 1);
  }
  for (size_t i = 0; i < queries * DIM; i++) q[i] = number() / 8;
  for (size_t i = 0; i < queries; i++) {
    limits[i] = 0;
    limits[queries + i] = QK_PAGE_POSITIONS;
  }
  for (int32_t isa = 0; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) != isa) continue;
    double best = 1e9;
    const double end = now() + 0.3;
    do {
      const double start = now();
      for (size_t i = 0; i < queries; i++) state[i] = -INFINITY, state[queries + i] = 0;
      memset(out, 0, queries * DIM * 4);
      for (size_t p = 0; p < PAGES; p++) {
        qk_attention_page_f16(q, DIM, queries, cache + 2 * p * page, cache + (2 * p + 1) * page, 0, DIM,
                              limits, limits + queries, state, state + queries, out, DIM);
      }
      const double took = now() - start;
      best = took < best ? took : best;
    } while (now() < end);
    printf("attention f16 %-7s %2zu queries %6.2f GMAC/s\n", qk_cpu_name(isa), queries,
           (double)(PAGES * 2 * page * queries) / best / 1e9);
  }
  free(cache);
  free(q);
  free(out);
  free(state);
  free(limits);
}

int main(int count, char **arguments) {
  const size_t columns = count > 1 ? (size_t)atoi(arguments[1]) : 2048;
  const size_t tokens = count > 2 ? (size_t)atoi(arguments[2]) : 128;
  float *x = allocate(tokens * columns * 4);
  qk_a8_block *blocks = allocate(tokens * columns / 32 * sizeof(qk_a8_block));
  for (size_t i = 0; i < tokens * columns; i++) x[i] = number();
  qk_a8_quantize(x, blocks, tokens * columns);
  rounded = allocate(tokens * (columns + 32) * 2);
  for (size_t t = 0; t < tokens; t++) qk_bf16_encode(x + t * columns, rounded + t * (columns + 32), columns);
  printf("%zu columns, %zu tokens, one thread\n", columns, tokens);
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
    if (count > 3 && strcmp(arguments[3], formats[f].name) != 0) continue;
    const size_t row_bytes = row_size(f, columns);
    const size_t many = (160u << 20) / row_bytes / 32 * 32;
    const size_t few = 256;
    uint8_t *weights = make_weights(f, many, columns);
    if (formats[f].pack) {
      uint8_t *groups = allocate(many * row_bytes);
      formats[f].pack(weights, row_bytes, many, columns, groups);
      free(weights);
      weights = groups;
    }
    float *y = allocate((many + tokens * few) * 4);
    float *expected = allocate(tokens * 19 * 4);
    qk_cpu_force(0);
    run(f, weights, 19, columns, x, blocks, tokens, expected);
    for (int32_t isa = 0; isa < QK_ISA_COUNT; isa++) {
      if (qk_cpu_force(isa) != isa) continue;
      run(f, weights, 19, columns, x, blocks, tokens, y);
      const char *equal = memcmp(y, expected, tokens * 19 * 4) == 0 ? "" : "  BITS DIFFER";
      double decode = 0;
      double prefill = 0;
      if (isa > 0) {
        decode = (double)(many * row_bytes) /
                 best_time(f, weights, many, columns, x, blocks, 1, y) / 1e9;
        prefill = (double)(few * columns) * (double)tokens /
                  best_time(f, weights, few, columns, x, blocks, tokens, y) / 1e9;
        const double small = (double)(few * row_bytes) /
                             best_time(f, weights, few, columns, x, blocks, 1, y) / 1e9;
        printf("%-13s %-7s decode %6.2f GB/s (in cache %6.2f)  prefill %7.2f GMAC/s%s\n",
               formats[f].name, qk_cpu_name(isa), decode, small, prefill, equal);
      }
    }
    free(weights);
    free(y);
    free(expected);
  }
  if (count <= 3 || strcmp(arguments[3], "attention") == 0) {
    const size_t queries[] = {1, 2, 4, 7, 32};
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) attention(queries[i]);
  }
  free(x);
  free(blocks);
  free(rounded);
  return 0;
}
