/* A host that computes with threads of its own: OpenBLAS, OpenMP, and loops that never sleep. Answers are those of a
 * quiet host, nobody's number of threads changes, nobody waits for the other, and nothing of ours spins once a run is
 * over: host_threads MODEL. */
#include <cblas.h>
#include <sched.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "contract.h"

enum { WIDTH = 384, MOST_THREADS = 64, BLAS_THREADS = 2, PIECES = 8 };

static const char* const run_options = "{\"max_new_tokens\":48,\"min_new_tokens\":48,\"do_sample\":false}";
static float left[WIDTH * WIDTH], right[WIDTH * WIDTH];
static volatile int is_over;

static int processors(void) {
  cpu_set_t set;
  int count;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  count = CPU_COUNT(&set);
  return count < MOST_THREADS ? count : MOST_THREADS;
}

static int threads_of_process(void) {
  FILE* file = fopen("/proc/self/status", "r");
  char line[256];
  int count = -1;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) sscanf(line, "Threads: %d", &count);
  if (file != NULL) fclose(file);
  return count;
}

static double cpu_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static void sleep_ms(long milliseconds) {
  struct timespec time;
  time.tv_sec = milliseconds / 1000;
  time.tv_nsec = milliseconds % 1000 * 1000000;
  nanosleep(&time, NULL);
}

/* The ids of an answer as text, to be freed, and how long it took. */
static char* answer(qwen_session session, double* milliseconds) {
  char *out = NULL, *ids = NULL;
  double start;
  json_t* result;
  qwen_session_reset(session);
  start = now_ms();
  if (qwen_generate(session, "Once upon a time", QWEN_NUL, run_options, NULL, NULL, &out) == QWEN_OK) {
    *milliseconds = now_ms() - start;
    result = parse_answer(out);
    ids = json_dumps(json_object_get(result, "ids"), JSON_COMPACT);
    json_decref(result);
  }
  return ids;
}

/* Answers some times; nonzero if each is `expected`. The shortest time goes to *best. */
static int answers(qwen_session session, const char* expected, double* best) {
  int i, same = 1;
  *best = 1e9;
  for (i = 0; i < 3; i++) {
    double time = 0;
    char* ids = answer(session, &time);
    same &= ids != NULL && strcmp(ids, expected) == 0;
    free(ids);
    if (time < *best) *best = time;
  }
  return same;
}

/* Half of each processor is left to a run beside as many busy threads; the rest is room for schedulers. */
static double bound(double quiet) {
  return 6 * quiet + 500;
}

static void* never_sleep(void* unused) {
  while (!is_over) {
  }
  return unused;
}

static void multiply(float* product) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, WIDTH, WIDTH, WIDTH, 1, left, WIDTH, right, WIDTH, 0, product,
              WIDTH);
}

/* Multiplies until it is told to stop; NULL if every product was the first one. */
static void* keep_multiplying(void* unused) {
  static float first[WIDTH * WIDTH], product[WIDTH * WIDTH];
  (void)unused;
  multiply(first);
  while (!is_over) {
    multiply(product);
    if (memcmp(first, product, sizeof first) != 0) return first;
  }
  return NULL;
}

static void beside_loops(qwen_session session, const char* expected, double quiet) {
  pthread_t threads[MOST_THREADS];
  const int count = processors();
  double best;
  int i, same;
  is_over = 0;
  for (i = 0; i < count; i++) pthread_create(&threads[i], NULL, never_sleep, NULL);
  same = answers(session, expected, &best);
  is_over = 1;
  for (i = 0; i < count; i++) pthread_join(threads[i], NULL);
  check(same, "beside %d loops: the same answer", count);
  check(best < bound(quiet), "beside %d loops: %.0f ms, alone %.0f", count, best, quiet);
}

static void beside_openblas(qwen_session session, const char* expected, double quiet) {
  static float before[WIDTH * WIDTH], after[WIDTH * WIDTH];
  pthread_t thread;
  void* difference = NULL;
  double best, worst = 0;
  int i, same = 1;
  openblas_set_num_threads(BLAS_THREADS);
  multiply(before);
  for (i = 0; i < PIECES; i++) {
    double time = 0;
    char* ids = answer(session, &time);
    same &= ids != NULL && strcmp(ids, expected) == 0;
    free(ids);
    multiply(after);
    same &= memcmp(before, after, sizeof before) == 0;
    if (time > worst) worst = time;
  }
  check(same, "in turn with OpenBLAS: the same answers and products");
  check(worst < bound(quiet), "in turn with OpenBLAS: %.0f ms at most, alone %.0f", worst, quiet);
  is_over = 0;
  pthread_create(&thread, NULL, keep_multiplying, NULL);
  same = answers(session, expected, &best);
  is_over = 1;
  pthread_join(thread, &difference);
  check(same, "beside OpenBLAS: the same answer");
  check(difference == NULL, "beside OpenBLAS: its products stay the same");
  check(best < bound(quiet), "beside OpenBLAS: %.0f ms, alone %.0f", best, quiet);
  check(openblas_get_num_threads() == BLAS_THREADS, "OpenBLAS has %d threads", openblas_get_num_threads());
}

/* A model that multiplies by the OpenBLAS that its host has opened. */
static void within_openblas(const char* path) {
  qwen_model model = open_model(path, "{\"threads\":2,\"matmul\":\"openblas\"}");
  qwen_session session = open_session(model, "{\"context\":256}");
  const int threads = threads_of_process();
  double time = 0;
  free(answer(session, &time));
  check(openblas_get_num_threads() == BLAS_THREADS, "matmul openblas: the host's OpenBLAS has %d threads",
        openblas_get_num_threads());
  check(threads_of_process() <= threads + 1, "matmul openblas: %d threads, before a run %d", threads_of_process(),
        threads);
  qwen_session_close(session);
  qwen_model_close(model);
}

#ifdef _OPENMP
static void beside_openmp(qwen_session session, const char* expected, double quiet) {
  const int before = omp_get_max_threads();
  double sum = 0, best;
  int i, same;
  /* With OMP_WAIT_POLICY=active the team spins behind its region for as long as we measure. */
#pragma omp parallel for reduction(+ : sum)
  for (i = 0; i < 1 << 20; i++) sum += i;
  same = answers(session, expected, &best);
  check(sum > 0 && same, "beside OpenMP: the same answer");
  check(best < bound(quiet), "beside OpenMP: %.0f ms, alone %.0f", best, quiet);
  check(omp_get_max_threads() == before, "OpenMP has %d threads", omp_get_max_threads());
}
#endif

int main(int argc, char** argv) {
  qwen_model model;
  qwen_session session;
  char* expected;
  double quiet = 0, used;
  int i, threads;
  if (argc < 2) return 2;
  for (i = 0; i < WIDTH * WIDTH; i++) {
    left[i] = (float)(i % 17) - 8;
    right[i] = (float)(i % 13) - 6;
  }
  threads = threads_of_process();
  model = open_model(argv[1], "{\"threads\":2}");
  session = open_session(model, "{\"context\":256}");
  expected = answer(session, &quiet);
  check(expected != NULL && answers(session, expected, &quiet), "a quiet host: %.0f ms", quiet);
  if (expected == NULL) return 1;
  sleep_ms(50);
  used = cpu_ms();
  sleep_ms(400);
  used = cpu_ms() - used;
  check(used < 20, "an open session takes %.1f ms of 400 between runs", used);
  beside_loops(session, expected, quiet);
  beside_openblas(session, expected, quiet);
  within_openblas(argv[1]);
#ifdef _OPENMP
  beside_openmp(session, expected, quiet);
#else
  printf("skip OpenMP: the compiler has none\n");
#endif
  free(expected);
  qwen_session_close(session);
  qwen_model_close(model);
#ifndef _OPENMP
  check(threads_of_process() == threads, "%d threads in the end, %d before", threads_of_process(), threads);
#else
  check(threads_of_process() == threads + omp_get_max_threads() - 1, "%d threads in the end, %d of them OpenMP's",
        threads_of_process(), omp_get_max_threads() - 1);
#endif
  return contract_failures != 0;
}
