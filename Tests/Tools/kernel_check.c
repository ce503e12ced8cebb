// Every kernel on every instruction set that the processor has: the bits must be those of the scalar reference. Odd sizes,
// every format, rows and groups, few and many tokens. Needs nothing but a C library, so it runs in an emulator:
//
//   clang -O3 -fno-math-errno -ISources/CQwenKernels/include Tests/Tools/kernel_check.c
//     Sources/CQwenKernels/*.c -lm -o kernel_check
//
// Prints the sets and what differs; exit code 1 if anything does.
#include <CQwenKernels.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void float_product(const void *, size_t, size_t, size_t, const float *, size_t, size_t, float *,
                           size_t);
typedef void block_product(const void *, size_t, size_t, size_t, const qk_a8_block *, size_t, size_t,
                           float *, size_t);
typedef void packing(const void *, size_t, size_t, size_t, void *);

typedef struct {
  const char *name;
  size_t block, bytes;
  int halves[2]; // where half-precision numbers are, or -1
  int number;    // where a float is, or -1
  int zero, most; // where a zero of one byte (or two, if it may be 256) is, and its limit
  float_product *floats;
  block_product *rows, *groups;
  packing *pack;
} format;

#define GROUPS(name) qk_##name##_matmul_a8, qk_##name##x16_matmul_a8, qk_##name##x16_pack
static const format formats[] = {
    {"f32", 1, 4, {-1, -1}, 0, -1, 0, qk_f32_matmul, 0, 0, 0},
    {"f16", 1, 2, {0, -1}, -1, -1, 0, qk_f16_matmul, 0, 0, 0},
    {"bf16", 1, 2, {0, -1}, -1, -1, 0, qk_bf16_matmul, 0, 0, 0},
    {"fp8", 128, 132, {-1, -1}, 0, -1, 0, qk_fp8_matmul, 0, 0, 0},
    {"q4_0", 32, 18, {0, -1}, -1, -1, 0, 0, GROUPS(q4_0)},
    {"q4_1", 32, 20, {0, 2}, -1, -1, 0, 0, GROUPS(q4_1)},
    {"q5_0", 32, 22, {0, -1}, -1, -1, 0, 0, GROUPS(q5_0)},
    {"q5_1", 32, 24, {0, 2}, -1, -1, 0, 0, GROUPS(q5_1)},
    {"q8_0", 32, 34, {0, -1}, -1, -1, 0, 0, GROUPS(q8_0)},
    {"q2_k", 256, 84, {80, 82}, -1, -1, 0, 0, GROUPS(q2_k)},
    {"q3_k", 256, 110, {108, -1}, -1, -1, 0, 0, GROUPS(q3_k)},
    {"q4_k", 256, 144, {0, 2}, -1, -1, 0, 0, GROUPS(q4_k)},
    {"q5_k", 256, 176, {0, 2}, -1, -1, 0, 0, GROUPS(q5_k)},
    {"q6_k", 256, 210, {208, -1}, -1, -1, 0, 0, GROUPS(q6_k)},
    {"iq4_nl", 32, 18, {0, -1}, -1, -1, 0, 0, GROUPS(iq4_nl)},
    {"iq4_xs", 256, 136, {0, -1}, -1, -1, 0, 0, GROUPS(iq4_xs)},
    {"z4_32", 32, 19, {0, -1}, -1, 2, 16, 0, GROUPS(z4_32)},
    {"z4_64", 64, 35, {0, -1}, -1, 2, 16, 0, GROUPS(z4_64)},
    {"z8", 32, 36, {0, -1}, -1, 2, 256, 0, GROUPS(z8)},
    {"nf4", 64, 36, {-1, -1}, 0, -1, 0, 0, GROUPS(nf4)},
    {"fp4", 64, 36, {-1, -1}, 0, -1, 0, 0, GROUPS(fp4)},
    {"int8", 32, 32, {-1, -1}, -1, -1, 0, 0, GROUPS(int8)},
    {"nf4_double", 64, 33, {-1, -1}, -1, -1, 0, 0, GROUPS(nf4_double)},
};

static uint32_t seed = 1;
static uint32_t next(void) {
  seed = seed * 1664525 + 1013904223;
  return seed >> 8;
}
static float number(void) { return (float)(next() & 0xffff) / 32768 - 1; }

static void *allocate(size_t bytes) {
  void *memory = malloc(bytes + 1);
  if (!memory) exit(2);
  return memory;
}

static int failures = 0;
static void expect_equal(const void *a, const void *b, size_t bytes, const char *what, int32_t isa) {
  if (memcmp(a, b, bytes) == 0) return;
  failures++;
  printf("FAIL %s on %s: other bits than the reference\n", what, qk_cpu_name(isa));
}

static size_t head_of(const format *f, size_t columns) {
  if (strcmp(f->name, "int8") == 0) return 4;
  return strcmp(f->name, "nf4_double") == 0 ? qk_nf4_double_head_bytes(columns) : 0;
}

static void fill_row(const format *f, uint8_t *row, size_t head, size_t columns) {
  for (size_t i = 0; i < head; i += 4) {
    const float value = number() / 16;
    memcpy(row + i, &value, 4);
  }
  if (head > 4) {
    const uint32_t phase = next() & 255;
    memcpy(row + 4, &phase, 4);
  }
  for (uint8_t *block = row + head; block < row + head + columns / f->block * f->bytes; block += f->bytes) {
    for (size_t i = 0; i < f->bytes; i++) {
      block[i] = (uint8_t)next();
      // FP8 has two numbers that are none.
      if (f->block == 128 && (block[i] & 0x7f) == 0x7f) block[i] &= 0xfe;
    }
    for (int i = 0; i < 2; i++) {
      const float value = number() / 16;
      if (f->halves[i] >= 0) qk_f16_encode(&value, block + f->halves[i], 1);
    }
    const float value = number();
    if (f->number >= 0) memcpy(block + f->number, &value, 4);
    if (f->most > 0) {
      const uint32_t zero = next() % ((uint32_t)f->most + 1);
      memcpy(block + f->zero, &zero, f->most > 255 ? 2 : 1);
    }
  }
}

static void multiply(const format *f, int is_grouped, const void *weights, size_t row_bytes, size_t rows,
                     size_t columns, const float *x, const qk_a8_block *a8, size_t tokens, float *y) {
  memset(y, 0, rows * tokens * sizeof *y);
  if (f->floats) {
    f->floats(weights, row_bytes, rows, columns, x, columns, tokens, y, rows);
  } else {
    (is_grouped ? f->groups : f->rows)(weights, row_bytes, rows, columns, a8, columns / 32, tokens, y, rows);
  }
}

static void check_products(const format *f, size_t rows, size_t columns, size_t tokens) {
  const size_t head = head_of(f, columns);
  const size_t row_bytes = head + columns / f->block * f->bytes;
  uint8_t *weights = allocate(rows * row_bytes);
  uint8_t *groups = allocate((rows + 15) / 16 * 16 * row_bytes);
  float *x = allocate(tokens * columns * sizeof *x);
  qk_a8_block *a8 = allocate((tokens * columns / 32 + 1) * sizeof *a8);
  float *expected = allocate(rows * tokens * sizeof *expected);
  float *y = allocate(rows * tokens * sizeof *y);
  for (size_t r = 0; r < rows; r++) fill_row(f, weights + r * row_bytes, head, columns);
  for (size_t i = 0; i < tokens * columns; i++) x[i] = number();
  qk_cpu_force(QK_ISA_SCALAR);
  if (!f->floats) {
    qk_a8_quantize(x, a8, tokens * columns);
    f->pack(weights, row_bytes, rows, columns, groups);
  }
  multiply(f, 0, weights, row_bytes, rows, columns, x, a8, tokens, expected);
  for (int32_t isa = 0; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) != isa) continue;
    multiply(f, 0, weights, row_bytes, rows, columns, x, a8, tokens, y);
    expect_equal(y, expected, rows * tokens * sizeof *y, f->name, isa);
    if (f->floats) continue;
    multiply(f, 1, groups, row_bytes, rows, columns, x, a8, tokens, y);
    expect_equal(y, expected, rows * tokens * sizeof *y, f->name, isa);
  }
  free(weights), free(groups), free(x), free(a8), free(expected), free(y);
}

// Products of bfloat16 with activations in bfloat16, of any size or so small that subnormal numbers occur.
static void check_bfloats(size_t rows, size_t columns, size_t tokens, int is_small) {
  uint16_t *weights = allocate(rows * columns * 2), *x = allocate((tokens * columns + tokens) * 2);
  float *expected = allocate(rows * tokens * 4), *y = allocate(rows * tokens * 4);
  for (size_t i = 0; i < rows * columns + tokens * (columns + 1); i++) {
    uint16_t *const to = i < rows * columns ? weights + i : x + (i - rows * columns);
    const float value = number();
    qk_bf16_encode(&value, to, 1);
    // Products of 2^-120 to 2^-150; one in 16 is subnormal itself.
    if (is_small) *to = (uint16_t)((*to & 0x807f) | (next() % 16 == 0 ? 0 : 52 + next() % 15) << 7);
  }
  qk_cpu_force(QK_ISA_SCALAR);
  qk_bf16_matmul_bf16(weights, columns * 2, rows, columns, x, columns + 1, tokens, expected, rows);
  for (int32_t isa = 1; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) != isa) continue;
    memset(y, 0, rows * tokens * 4);
    qk_bf16_matmul_bf16(weights, columns * 2, rows, columns, x, columns + 1, tokens, y, rows);
    expect_equal(y, expected, rows * tokens * 4, "bf16 times bf16", isa);
  }
  free(weights), free(x), free(expected), free(y);
}

// Everything that has one vector, or two, as input: results one behind the other.
enum { MOST = 160, RESULTS = 16 * MOST };
static size_t vectors(size_t count, const float *x, const float *z, uint8_t *out) {
  float *y = (float *)out;
  uint8_t halves[2 * MOST];
  qk_rms_norm(x, z, 1e-6f, y, count), y += count;
  memcpy(y, x, 4 * count), qk_add(y, z, count), y += count;
  memcpy(y, x, 4 * count), qk_scale(y, 0.3f, count), y += count;
  qk_silu_multiply(x, z, y, count), y += count;
  memcpy(y, x, 4 * count), qk_rope_halves(y, z, z + 1, count / 2), y += count;
  memcpy(y, x, 4 * count), qk_rope_pairs(y, z, z + 1, count / 2), y += count;
  qk_exp(x, y, count), y += count;
  qk_f16_encode(x, halves, count), qk_f16_decode(halves, y, count), y += count;
  qk_bf16_encode(x, halves, count), qk_bf16_decode(halves, y, count), y += count;
  float gaps[MOST];
  for (size_t i = 0; i < count; i++) gaps[i] = i % 7 == 3 ? NAN : i % 5 == 2 ? -INFINITY : x[i];
  *y++ = (float)qk_argmax(gaps, count);
  *y++ = (float)qk_argmax(x, count), *y++ = (float)qk_log_sum_exp(x, count);
  *y++ = (float)qk_all_finite(x, count);
  qk_a8_quantize(x, (qk_a8_block *)y, count / 32 * 32), y += count / 32 * 12;
  uint32_t outliers[MOST / 32];
  qk_int8_quantize(x, (qk_a8_block *)y, outliers, count / 32 * 32), y += count / 32 * 12;
  memcpy(y, outliers, count / 32 * 4), y += count / 32;
  return (size_t)((uint8_t *)y - out);
}

static void check_vectors(size_t count, float range) {
  float x[MOST], z[MOST + 1];
  static float expected[RESULTS], y[RESULTS];
  for (size_t i = 0; i < count; i++) x[i] = number() * range;
  for (size_t i = 0; i < MOST + 1; i++) z[i] = number();
  qk_cpu_force(QK_ISA_SCALAR);
  const size_t bytes = vectors(count, x, z, (uint8_t *)expected);
  for (int32_t isa = 1; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) != isa) continue;
    vectors(count, x, z, (uint8_t *)y);
    expect_equal(y, expected, bytes, "a function of a vector", isa);
  }
}

typedef void attending(const float *, size_t, size_t, const void *, const void *, const void *, size_t,
                       const int32_t *, const int32_t *, float *, float *, float *, size_t);
typedef void storing(const float *, size_t, size_t, void *);
typedef size_t sizing(size_t);
static const struct {
  const char *name;
  sizing *bytes;
  storing *store_key, *store_value;
  attending *attend;
} caches[] = {
    {"attention f32", qk_kv_f32_bytes, qk_kv_f32_store_key, qk_kv_f32_store_value, qk_attention_page_f32},
    {"attention f16", qk_kv_f16_bytes, qk_kv_f16_store_key, qk_kv_f16_store_value, qk_attention_page_f16},
    {"attention q8", qk_kv_q8_bytes, qk_kv_q8_store_key, qk_kv_q8_store_value, qk_attention_page_q8},
    {"attention q4", qk_kv_q4_bytes, qk_kv_q4_store_key, qk_kv_q4_store_value, qk_attention_page_q4},
};

static void check_attention(size_t c, size_t dim, size_t queries) {
  uint8_t *keys[2], *values[2];
  float *x = allocate(dim * 4), *q = allocate(queries * dim * 4);
  for (size_t i = 0; i < queries * dim; i++) q[i] = number() / 4;
  for (int p = 0; p < 2; p++) {
    keys[p] = allocate(caches[c].bytes(dim)), values[p] = allocate(caches[c].bytes(dim));
    for (size_t i = 0; i < 2 * QK_PAGE_POSITIONS; i++) {
      for (size_t k = 0; k < dim; k++) x[k] = number();
      if (i % 2) caches[c].store_key(x, dim, i / 2, keys[p]);
      else caches[c].store_value(x, dim, i / 2, values[p]);
    }
  }
  const size_t state = queries * (2 + dim);
  float *expected = allocate(state * 4), *now = allocate(state * 4), *other = allocate(state * 4);
  for (size_t i = 0; i < state; i++) other[i] = 1 + number();
  other[0] = -INFINITY, other[queries] = 0;
  int32_t *first = allocate(queries * 4), *visible = allocate(queries * 4);
  for (int32_t isa = 0; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) != isa) continue;
    float *y = isa == 0 ? expected : now;
    memset(y, 0, state * 4);
    for (size_t i = 0; i < queries; i++) y[i] = -INFINITY;
    for (int p = 0; p < 2; p++) {
      for (size_t i = 0; i < queries; i++) {
        visible[i] = p == 0 ? QK_PAGE_POSITIONS : (int32_t)(i * 7 % QK_PAGE_POSITIONS);
        first[i] = p == 0 ? (int32_t)(i * 5 % QK_PAGE_POSITIONS) : 0;
      }
      caches[c].attend(q, dim, queries, keys[p], values[p], p == 0 ? keys[1] : 0, dim, first, visible, y,
                       y + queries, y + 2 * queries, dim);
    }
    // Joined with another state, in which the first query saw nothing.
    qk_attention_merge(queries, dim, y, y + queries, y + 2 * queries, other, other + queries, other + 2 * queries);
    expect_equal(y, expected, state * 4, caches[c].name, isa);
  }
  for (int p = 0; p < 2; p++) free(keys[p]), free(values[p]);
  free(x), free(q), free(expected), free(now), free(other), free(first), free(visible);
}

int main(void) {
  printf("sets:");
  for (int32_t isa = 0; isa < QK_ISA_COUNT; isa++) {
    if (qk_cpu_force(isa) == isa) printf(" %s", qk_cpu_name(isa));
  }
  printf("\n");
  static const size_t rows[] = {1, 3, 8, 17, 35}, tokens[] = {1, 2, 3, 5, 9, 17}, widths[] = {1, 2, 5, 9};
  for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
    for (size_t w = 0; w < 4; w++) {
      size_t columns = widths[w] * formats[f].block;
      if (formats[f].block == 1) columns = widths[w] * 13;
      // More than one panel of parts.
      if (formats[f].block == 32 && w == 3) columns = 19 * 32;
      for (size_t i = 0; i < 5; i++) {
        for (size_t t = 0; t < 6; t++) check_products(formats + f, rows[i], columns, tokens[t]);
      }
    }
    // More rows than stay in a cache at a time.
    if (formats[f].block == 1) check_products(formats + f, 301, 301, 6), check_products(formats + f, 41, 3001, 50);
  }
  static const size_t lengths[] = {1, 2, 15, 16, 17, 33, 130};
  for (size_t c = 0; c < 7; c++) {
    for (size_t i = 0; i < 5; i++) {
      for (size_t t = 0; t < 6; t++) {
        check_bfloats(rows[i], lengths[c], tokens[t], 0);
        check_bfloats(rows[i], lengths[c], tokens[t], 1);
      }
    }
  }
  // More rows and tokens than stay in a cache at a time.
  check_bfloats(37, 5000, 131, 0);
  for (size_t count = 1; count <= MOST; count++) {
    check_vectors(count, 1);
    check_vectors(count, 200);
  }
  static const size_t dims[] = {20, 40, 64, 128}, queries[] = {1, 2, 3, 4, 5, 6, 7, 8, 13, 24};
  for (size_t c = 0; c < sizeof caches / sizeof *caches; c++) {
    for (size_t d = 0; d < 4; d++) {
      for (size_t q = 0; q < 10; q++) check_attention(c, dims[d], queries[q]);
    }
  }
  printf(failures == 0 ? "ok   all bits are those of the scalar reference\n" : "%d failures\n", failures);
  return failures != 0;
}
