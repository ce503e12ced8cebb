// How near one-token products come to the speed of memory: GB/s of weights, more than caches hold,
// beside a loop that only reads the same bytes, one after the other in the same seconds.
//
//   clang -O3 -fno-math-errno -pthread -ISources/CQwenKernels/include Tests/Tools/stream_bench.c
//     Sources/CQwenKernels/*.c -lm -o stream_bench
//   ./stream_bench [columns] [rounds] [format] [threads]
//
// Each line: format, instruction set, threads, GB/s of the product and of the reading that a tenth of
// the rounds reached, the ratio of these, and the median of the ratios round by round.
#include <CQwenKernels.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void float_product(const void *, size_t, size_t, size_t, const float *, size_t, size_t,
                           float *, size_t);
typedef void block_product(const void *, size_t, size_t, size_t, const qk_a8_block *, size_t,
                           size_t, float *, size_t);

static size_t four(size_t columns) {
  (void)columns;
  return 4;
}

static const struct {
  const char *name;
  size_t block, bytes; // elements and bytes of a block
  size_t (*head)(size_t); // bytes before the blocks of a row of so many columns
  float_product *floats;
  block_product *blocks;
} formats[] = {
    {"f32", 1, 4, 0, qk_f32_matmul, 0},
    {"f16", 1, 2, 0, qk_f16_matmul, 0},
    {"bf16", 1, 2, 0, qk_bf16_matmul, 0},
    {"fp8", 128, 132, 0, qk_fp8_matmul, 0},
    {"q4_0", 32, 18, 0, 0, qk_q4_0_matmul_a8},
    {"q4_1", 32, 20, 0, 0, qk_q4_1_matmul_a8},
    {"q5_0", 32, 22, 0, 0, qk_q5_0_matmul_a8},
    {"q5_1", 32, 24, 0, 0, qk_q5_1_matmul_a8},
    {"q8_0", 32, 34, 0, 0, qk_q8_0_matmul_a8},
    {"q2_k", 256, 84, 0, 0, qk_q2_k_matmul_a8},
    {"q3_k", 256, 110, 0, 0, qk_q3_k_matmul_a8},
    {"q4_k", 256, 144, 0, 0, qk_q4_k_matmul_a8},
    {"q5_k", 256, 176, 0, 0, qk_q5_k_matmul_a8},
    {"q6_k", 256, 210, 0, 0, qk_q6_k_matmul_a8},
    {"iq4_nl", 32, 18, 0, 0, qk_iq4_nl_matmul_a8},
    {"iq4_xs", 256, 136, 0, 0, qk_iq4_xs_matmul_a8},
    {"z4_32", 32, 19, 0, 0, qk_z4_32_matmul_a8},
    {"z4_64", 64, 35, 0, 0, qk_z4_64_matmul_a8},
    {"z8", 32, 36, 0, 0, qk_z8_matmul_a8},
    {"nf4", 64, 36, 0, 0, qk_nf4_matmul_a8},
    {"nf4_double", 64, 33, qk_nf4_double_head_bytes, 0, qk_nf4_double_matmul_a8},
    {"fp4", 64, 36, 0, 0, qk_fp4_matmul_a8},
    {"int8", 32, 32, four, 0, qk_int8_matmul_a8},
    {"q4_0x16", 32, 18, 0, 0, qk_q4_0x16_matmul_a8},
    {"q4_1x16", 32, 20, 0, 0, qk_q4_1x16_matmul_a8},
    {"q5_0x16", 32, 22, 0, 0, qk_q5_0x16_matmul_a8},
    {"q5_1x16", 32, 24, 0, 0, qk_q5_1x16_matmul_a8},
    {"q8_0x16", 32, 34, 0, 0, qk_q8_0x16_matmul_a8},
    {"q2_kx16", 256, 84, 0, 0, qk_q2_kx16_matmul_a8},
    {"q3_kx16", 256, 110, 0, 0, qk_q3_kx16_matmul_a8},
    {"q4_kx16", 256, 144, 0, 0, qk_q4_kx16_matmul_a8},
    {"q5_kx16", 256, 176, 0, 0, qk_q5_kx16_matmul_a8},
    {"q6_kx16", 256, 210, 0, 0, qk_q6_kx16_matmul_a8},
    {"iq4_nlx16", 32, 18, 0, 0, qk_iq4_nlx16_matmul_a8},
    {"iq4_xsx16", 256, 136, 0, 0, qk_iq4_xsx16_matmul_a8},
    {"z4_32x16", 32, 19, 0, 0, qk_z4_32x16_matmul_a8},
    {"z4_64x16", 64, 35, 0, 0, qk_z4_64x16_matmul_a8},
    {"z8x16", 32, 36, 0, 0, qk_z8x16_matmul_a8},
    {"nf4x16", 64, 36, 0, 0, qk_nf4x16_matmul_a8},
    {"nf4_doublex16", 64, 33, qk_nf4_double_head_bytes, 0, qk_nf4_doublex16_matmul_a8},
    {"fp4x16", 64, 36, 0, 0, qk_fp4x16_matmul_a8},
    {"int8x16", 32, 32, four, 0, qk_int8x16_matmul_a8},
};

enum { MAX_THREADS = 64, MAX_ROUNDS = 1000 };
// Windows are read and multiplied in turn: each lasts a millisecond or two, less than a time slice,
// and has left the caches before its turn comes again.
static const size_t total_bytes = 512u << 20;
static const size_t window_bytes = 16u << 20;

static const uint8_t *all_weights;
static struct {
  int threads, format, only_reads; // format < 0: no more work
  const uint8_t *weights;
  size_t rows, columns;
  const float *x;
  const qk_a8_block *blocks;
  float *y;
  pthread_barrier_t start, end;
  uint64_t sink[MAX_THREADS * 16];
} work;

static size_t row_size(int f, size_t columns) {
  const size_t head = formats[f].head ? formats[f].head(columns) : 0;
  return head + columns / formats[f].block * formats[f].bytes;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Reads whole cache lines, the fastest that plain loads do.
__attribute__((noinline)) static uint64_t read_all(const uint8_t *from, size_t count) {
  typedef uint64_t vector __attribute__((vector_size(32), aligned(1)));
  vector a = {0}, b = {0}, c = {0}, d = {0};
  for (size_t i = 0; i + 128 <= count; i += 128) {
    a ^= *(const vector *)(from + i);
    b ^= *(const vector *)(from + i + 32);
    c ^= *(const vector *)(from + i + 64);
    d ^= *(const vector *)(from + i + 96);
  }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1] ^ a[2] ^ a[3];
}

static void part(int index) {
  const size_t first = work.rows * (size_t)index / (size_t)work.threads / 16 * 16;
  const size_t last = index + 1 == work.threads
                          ? work.rows
                          : work.rows * (size_t)(index + 1) / (size_t)work.threads / 16 * 16;
  const int f = work.format;
  const size_t row_bytes = row_size(f, work.columns);
  const uint8_t *from = work.weights + first * row_bytes;
  if (work.only_reads) {
    work.sink[16 * index] ^= read_all(from, (last - first) * row_bytes);
  } else if (formats[f].floats) {
    formats[f].floats(from, row_bytes, last - first, work.columns, work.x, work.columns, 1,
                      work.y + first, work.rows);
  } else {
    formats[f].blocks(from, row_bytes, last - first, work.columns, work.blocks,
                      work.columns / 32, 1, work.y + first, work.rows);
  }
}

static void *helper(void *argument) {
  const int index = (int)(intptr_t)argument;
  while (1) {
    pthread_barrier_wait(&work.start);
    if (work.format < 0) return 0;
    part(index);
    pthread_barrier_wait(&work.end);
  }
}

static double timed(int only_reads, size_t window) {
  work.only_reads = only_reads;
  work.weights = all_weights + window * window_bytes;
  const double begin = now();
  if (work.threads > 1) pthread_barrier_wait(&work.start);
  part(0);
  if (work.threads > 1) pthread_barrier_wait(&work.end);
  return now() - begin;
}

static double window_size(int f) {
  return (double)(work.rows * row_size(f, work.columns));
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void measure(int f, int isa, int threads, int rounds) {
  pthread_t ids[MAX_THREADS];
  work.threads = threads;
  work.format = f;
  pthread_barrier_init(&work.start, 0, (unsigned)threads);
  pthread_barrier_init(&work.end, 0, (unsigned)threads);
  for (int i = 1; i < threads; i++) pthread_create(&ids[i], 0, helper, (void *)(intptr_t)i);
  double ratios[MAX_ROUNDS], times[MAX_ROUNDS], reads[MAX_ROUNDS];
  const size_t windows = total_bytes / window_bytes;
  for (int i = 0; i < rounds; i++) {
    reads[i] = timed(1, (size_t)(2 * i) % windows);
    times[i] = timed(0, (size_t)(2 * i + 1) % windows);
    ratios[i] = reads[i] / times[i];
  }
  qsort(ratios, (size_t)rounds, sizeof *ratios, by_value);
  qsort(times, (size_t)rounds, sizeof *ratios, by_value);
  qsort(reads, (size_t)rounds, sizeof *ratios, by_value);
  const double bytes = window_size(f) / 1e9;
  // The upper decile: what the machine does when its neighbours are quiet.
  const double best = times[rounds / 10], best_read = reads[rounds / 10];
  printf("%-13s %-7s %d thread%s %6.2f GB/s  read %6.2f GB/s  ratio %.2f (median %.2f)\n",
         formats[f].name, qk_cpu_name(isa), threads, threads > 1 ? "s" : " ", bytes / best,
         bytes / best_read, best_read / best, ratios[rounds / 2]);
  fflush(stdout);
  work.format = -1;
  if (threads > 1) pthread_barrier_wait(&work.start);
  for (int i = 1; i < threads; i++) pthread_join(ids[i], 0);
  pthread_barrier_destroy(&work.start);
  pthread_barrier_destroy(&work.end);
}

int main(int count, char **arguments) {
  const size_t columns = count > 1 ? (size_t)atoi(arguments[1]) : 4096;
  int rounds = count > 2 ? atoi(arguments[2]) : 200;
  rounds = rounds < 1 ? 1 : rounds > MAX_ROUNDS ? MAX_ROUNDS : rounds;
  // On large pages, where models end up: on small ones both are slower, by up to a tenth, and unequally.
  uint8_t *weights = aligned_alloc(2u << 20, total_bytes);
  float *x = aligned_alloc(64, columns * 4);
  qk_a8_block *blocks = aligned_alloc(64, columns / 32 * sizeof(qk_a8_block) + 64);
  work.y = aligned_alloc(64, total_bytes / 8);
  if (!weights || !x || !blocks || !work.y) return 1;
  madvise(weights, total_bytes, MADV_HUGEPAGE);
  // Small numbers in every format, and none below the normal ones, which are slow: bytes 0x20 ... 0x2f.
  for (size_t i = 0; i < total_bytes; i++) weights[i] = (uint8_t)(0x20 + ((uint32_t)i * 2654435761u >> 28));
  memset(work.y, 0, total_bytes / 8);
  for (size_t k = 0; k < columns; k++) x[k] = (float)(k * 37 % 101) / 50 - 1;
  qk_a8_quantize(x, blocks, columns);
  all_weights = weights;
  work.columns = columns;
  work.x = x;
  work.blocks = blocks;
  for (int f = 0; f < (int)(sizeof formats / sizeof *formats); f++) {
    if (count > 3 && strcmp(arguments[3], formats[f].name) != 0) continue;
    const size_t row_bytes = row_size(f, columns);
    work.rows = window_bytes / row_bytes / 32 * 32;
    for (int isa = 1; isa < QK_ISA_COUNT; isa++) {
      if (qk_cpu_force(isa) != isa) continue;
      for (int threads = 1; threads <= 2; threads++) {
        if (count <= 4 || atoi(arguments[4]) == threads) measure(f, isa, threads, rounds);
      }
    }
  }
  free(weights);
  free(x);
  free(blocks);
  free(work.y);
  return 0;
}
