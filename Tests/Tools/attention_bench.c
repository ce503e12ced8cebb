// Speed of attention for one token deep in a text, beside a loop that only reads the same keys and values, in turn; and of
// many tokens that share them.
//
//   clang -O3 -fno-math-errno -pthread -ISources/CQwenKernels/include Tests/Tools/attention_bench.c
//     Sources/CQwenKernels/*.c -lm -o attention_bench
//   ./attention_bench [depth] [layers] [kv heads] [group] [head size] [threads] [rounds] [format] [set] [large pages: 0 or 1]
//
// Pages lie as in a cache: [page][layer][head][key | value]. Each line: format, instruction set, milliseconds of a token
// of the best round, GB/s of keys and values, the same of reading, the ratio, its median round by round.
#include <CQwenKernels.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef void attending(const float *, size_t, size_t, const void *, const void *, const void *, size_t,
                       const int32_t *, const int32_t *, float *, float *, float *, size_t);
typedef void storing(const float *, size_t, size_t, void *);

static const struct {
  const char *name;
  size_t (*bytes)(size_t);
  storing *key, *value;
  attending *attend;
} formats[] = {
    {"f32", qk_kv_f32_bytes, qk_kv_f32_store_key, qk_kv_f32_store_value, qk_attention_page_f32},
    {"f16", qk_kv_f16_bytes, qk_kv_f16_store_key, qk_kv_f16_store_value, qk_attention_page_f16},
    {"q8", qk_kv_q8_bytes, qk_kv_q8_store_key, qk_kv_q8_store_value, qk_attention_page_q8},
    {"q4", qk_kv_q4_bytes, qk_kv_q4_store_key, qk_kv_q4_store_value, qk_attention_page_q4},
};

enum { MAX_THREADS = 16, MAX_ROUNDS = 1000, MANY = 64 };

static size_t depth = 8192, layers = 24, heads = 2, group = 7, dim = 64;
static int threads = 1, rounds = 40;
static size_t format, run_bytes, page_bytes, pages;
static uint8_t **table;
static float *q, *out[MAX_THREADS];
static int only_reads;
static size_t queries; // of a token, or of many tokens
static uint64_t sink[MAX_THREADS * 16];
static pthread_barrier_t start, end;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float number(void) {
  static uint32_t seed = 1;
  seed = seed * 1664525 + 1013904223;
  return (float)(seed >> 16) / 32768 - 1;
}

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

// Pages of one head of one layer, from `first` to `last`.
static void walk(int thread, size_t layer, size_t head, size_t first, size_t last) {
  const size_t offset = (layer * heads + head) * 2 * run_bytes;
  float maximum[MANY], sum[MANY];
  int32_t from[MANY], to[MANY];
  for (size_t i = 0; i < queries; i++) maximum[i] = -INFINITY, sum[i] = 0, from[i] = 0, to[i] = QK_PAGE_POSITIONS;
  memset(out[thread], 0, queries * dim * 4);
  for (size_t p = first; p < last; p++) {
    const uint8_t *keys = table[p] + offset;
    if (only_reads) {
      sink[16 * thread] ^= read_all(keys, 2 * run_bytes);
      continue;
    }
    const void *ahead = p + 1 < last ? table[p + 1] + offset : 0;
    formats[format].attend(q, dim, queries, keys, keys + run_bytes, ahead, dim, from, to, maximum, sum,
                           out[thread], dim);
  }
  sink[16 * thread] ^= (uint64_t)sum[0];
}

static void part(int thread) {
  // Units of 1024 positions of a head, as attention takes them.
  const size_t stretch = 16, stretches = (pages + stretch - 1) / stretch, units = heads * stretches;
  for (size_t layer = 0; layer < layers; layer++) {
    for (size_t u = units * (size_t)thread / (size_t)threads; u < units * (size_t)(thread + 1) / (size_t)threads; u++) {
      const size_t first = u % stretches * stretch;
      walk(thread, layer, u / stretches, first, first + stretch < pages ? first + stretch : pages);
    }
  }
}

static int stop;
static void *helper(void *argument) {
  while (1) {
    pthread_barrier_wait(&start);
    if (stop) return 0;
    part((int)(intptr_t)argument);
    pthread_barrier_wait(&end);
  }
}

static double timed(int reads) {
  only_reads = reads;
  const double begin = now();
  if (threads > 1) pthread_barrier_wait(&start);
  part(0);
  if (threads > 1) pthread_barrier_wait(&end);
  return now() - begin;
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void measure(int32_t isa) {
  double times[MAX_ROUNDS], reads[MAX_ROUNDS], ratios[MAX_ROUNDS];
  queries = group;
  for (int i = 0; i < rounds; i++) {
    reads[i] = timed(1);
    times[i] = timed(0);
    ratios[i] = reads[i] / times[i];
  }
  qsort(times, (size_t)rounds, sizeof *times, by_value);
  qsort(reads, (size_t)rounds, sizeof *times, by_value);
  qsort(ratios, (size_t)rounds, sizeof *times, by_value);
  const double best = times[0], read = reads[0];
  const double bytes = (double)(pages * layers * heads * 2 * run_bytes) / 1e9;
  queries = MANY / group * group;
  // One layer, one head, again and again.
  double fastest = 1e9;
  only_reads = 0;
  for (double until = now() + 0.2; now() < until;) {
    const double begin = now();
    walk(0, 0, 0, 0, pages < 16 ? pages : 16);
    const double took = now() - begin;
    fastest = took < fastest ? took : fastest;
  }
  const double macs = (double)((pages < 16 ? pages : 16) * QK_PAGE_POSITIONS * queries * 2 * dim) / 1e9;
  printf("%-3s %-7s %d thread%s token %7.3f ms %6.2f GB/s  read %6.2f GB/s  ratio %.2f (median %.2f)  %2zu queries %6.2f GMAC/s\n",
         formats[format].name, qk_cpu_name(isa), threads, threads > 1 ? "s" : " ", best * 1e3, bytes / best, bytes / read, read / best,
         ratios[rounds / 2], queries, macs / fastest);
  fflush(stdout);
}

int main(int count, char **a) {
  size_t *sizes[] = {&depth, &layers, &heads, &group, &dim};
  for (int i = 0; i < 5 && i + 1 < count; i++) *sizes[i] = (size_t)atoi(a[i + 1]);
  if (count > 6) threads = atoi(a[6]);
  if (count > 7) rounds = atoi(a[7]);
  const int large = count > 10 ? atoi(a[10]) : 0;
  pages = (depth + QK_PAGE_POSITIONS - 1) / QK_PAGE_POSITIONS;
  q = malloc(MANY * dim * 4);
  for (size_t i = 0; i < MANY * dim; i++) q[i] = number() / 4;
  for (int t = 0; t < threads; t++) out[t] = malloc(MANY * dim * 4);
  table = malloc(pages * sizeof *table);
  for (format = 0; format < 4; format++) {
    if (count > 8 && strcmp(a[8], "all") != 0 && strcmp(a[8], formats[format].name) != 0) continue;
    run_bytes = formats[format].bytes(dim);
    page_bytes = layers * heads * 2 * run_bytes;
    const size_t all = (pages * page_bytes + (4u << 20)) >> 21 << 21;
    uint8_t *memory = mmap(0, all + (2u << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    uint8_t *base = (uint8_t *)(((uintptr_t)memory + (2u << 20) - 1) >> 21 << 21);
    if (large) madvise(base, all, MADV_HUGEPAGE);
    // One run of noise, copied.
    uint8_t *noise = malloc(2 * run_bytes);
    float *x = malloc(dim * 4);
    for (size_t p = 0; p < QK_PAGE_POSITIONS; p++) {
      for (size_t k = 0; k < dim; k++) x[k] = number();
      formats[format].key(x, dim, p, noise);
      for (size_t k = 0; k < dim; k++) x[k] = number();
      formats[format].value(x, dim, p, noise + run_bytes);
    }
    for (size_t p = 0; p < pages; p++) {
      table[p] = base + p * page_bytes;
      for (size_t i = 0; i < layers * heads; i++) memcpy(table[p] + i * 2 * run_bytes, noise, 2 * run_bytes);
    }
    for (int32_t isa = 1; isa < QK_ISA_COUNT; isa++) {
      if (isa == QK_ISA_AVXVNNI || qk_cpu_force(isa) != isa) continue;
      if (count > 9 && strcmp(a[9], "all") != 0 && strcmp(a[9], qk_cpu_name(isa)) != 0) continue;
      pthread_t ids[MAX_THREADS];
      stop = 0;
      pthread_barrier_init(&start, 0, (unsigned)threads);
      pthread_barrier_init(&end, 0, (unsigned)threads);
      for (int t = 1; t < threads; t++) pthread_create(&ids[t], 0, helper, (void *)(intptr_t)t);
      measure(isa);
      stop = 1;
      if (threads > 1) pthread_barrier_wait(&start);
      for (int t = 1; t < threads; t++) pthread_join(ids[t], 0);
    }
    free(noise);
    free(x);
    munmap(memory, all + (2u << 20));
  }
  return 0;
}
