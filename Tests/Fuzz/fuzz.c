/* Damages model files and requests and holds the library to its promise: an error or a result, never an end of
 * the process.
 *
 *   fuzz FIXTURES SECONDS [SEED [TARGET ITERATION]]
 *
 * FIXTURES has one folder for each tiny model. Each target gets its share of the seconds, in child processes; with
 * TARGET and ITERATION one case is replayed in this process. Exit code 1 if any case ended its process. */
#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mutate.h"
#include "qwen.h"

enum { CASE_SECONDS = 20, MOST_FAILURES = 5 };

/* What the processes share. */
typedef struct {
  unsigned long iteration, served, refused;
} Progress;

static const char *fixtures;
static char work[PATH_MAX];
static uint64_t seed;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int ends_with(const char *name, const char *ending) {
  const size_t n = strlen(name), m = strlen(ending);
  return n >= m && strcmp(name + n - m, ending) == 0;
}

/* Files that a target damages. */
static int is_weights(const char *n) {
  return (ends_with(n, ".safetensors") && strncmp(n, "golden", 6) != 0) || ends_with(n, ".index.json");
}
static int is_model(const char *n);
static int is_torch(const char *n) { return ends_with(n, ".bin"); }
static int is_gguf(const char *n) { return ends_with(n, ".gguf"); }
static int is_vocabulary(const char *n) {
  return ends_with(n, ".tiktoken") || ends_with(n, "merges.txt") || ends_with(n, "vocab.json") ||
         strncmp(n, "tokenizer", 9) == 0 || strcmp(n, "added_tokens.json") == 0;
}
static int is_config(const char *n) {
  return strcmp(n, "config.json") == 0 || strcmp(n, "generation_config.json") == 0;
}

static int is_model(const char *n) { return is_weights(n) || is_gguf(n) || is_config(n); }

typedef struct {
  const char *name;
  int (*takes)(const char *name); /* NULL: requests */
  size_t head;                    /* bytes that are damaged most */
  int converts;                   /* written in another format instead of used */
} Target;

static const Target targets[] = {
    {"safetensors", is_weights, 4096, 0}, {"torch", is_torch, 8192, 0}, {"gguf", is_gguf, 16384, 0},
    {"tokenizer", is_vocabulary, 65536, 0}, {"config", is_config, 4096, 0}, {"request", NULL, 4096, 0},
    {"convert", is_model, 8192, 1},
};
enum { TARGETS = sizeof targets / sizeof *targets };

typedef struct {
  char model[256], file[256];
} Place;

/* The files that a target damages, in order of name. */
static size_t places(const Target *target, Place *found, size_t capacity) {
  struct dirent **models;
  size_t count = 0;
  const int n = scandir(fixtures, &models, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char path[PATH_MAX];
    struct dirent **files;
    snprintf(path, sizeof path, "%s/%s", fixtures, models[i]->d_name);
    const int m = models[i]->d_name[0] == '.' ? -1 : scandir(path, &files, NULL, alphasort);
    for (int k = 0; k < m; k++) {
      if (count < capacity && target->takes(files[k]->d_name)) {
        snprintf(found[count].model, sizeof found[count].model, "%s", models[i]->d_name);
        snprintf(found[count].file, sizeof found[count].file, "%s", files[k]->d_name);
        count++;
      }
      free(files[k]);
    }
    if (m >= 0) free(files);
    free(models[i]);
  }
  if (n >= 0) free(models);
  return count;
}

/* Fills the work folder with links to a model's files and one damaged copy. */
static void lay_out(const Place *place, const Bytes *damaged) {
  char path[2 * PATH_MAX], target[2 * PATH_MAX];
  DIR *folder = opendir(work);
  struct dirent *entry;
  while (folder != NULL && (entry = readdir(folder)) != NULL) {
    snprintf(path, sizeof path, "%s/%s", work, entry->d_name);
    if (entry->d_name[0] != '.') unlink(path);
  }
  if (folder != NULL) closedir(folder);
  snprintf(target, sizeof target, "%s/%s", fixtures, place->model);
  folder = opendir(target);
  while (folder != NULL && (entry = readdir(folder)) != NULL) {
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, place->file) == 0) continue;
    snprintf(path, sizeof path, "%s/%s", work, entry->d_name);
    snprintf(target, sizeof target, "%s/%s/%s", fixtures, place->model, entry->d_name);
    if (symlink(target, path) != 0) perror(path);
  }
  if (folder != NULL) closedir(folder);
  snprintf(path, sizeof path, "%s/%s", work, place->file);
  FILE *file = fopen(path, "wb");
  if (file == NULL || fwrite(damaged->bytes, 1, damaged->count, file) != damaged->count) abort();
  fclose(file);
}

/* Uses an open model a little. */
static void use(qwen_model model) {
  char *json = NULL;
  int32_t ids[64];
  size_t count = 0;
  char text[512];
  qwen_session session = NULL;
  qwen_model_info(model, &json);
  qwen_string_free(json);
  qwen_tokenize(model, "Hello, 世界! 123 <|im_end|>", QWEN_NUL, "{\"special\":\"all\"}", ids, 64, &count);
  qwen_detokenize(model, ids, count, NULL, text, sizeof text, &count);
  if (qwen_session_open(&session, model, "{\"context\":64}") != QWEN_OK) return;
  json = NULL;
  qwen_chat(session, "{\"query\":\"hi\",\"max_new_tokens\":2}", NULL, NULL, &json);
  qwen_string_free(json);
  json = NULL;
  qwen_generate(session, "ab", 2, "{\"max_new_tokens\":2}", NULL, NULL, &json);
  qwen_string_free(json);
  qwen_session_close(session);
}

/* Writes the model at path in another format, with options that may be damaged. True if it was written; whatever
 * happens, no part of it may be left under another name. */
static int convert(Random *random, const char *path) {
  static const char *const all[] = {
      "{\"weights\":\"q4_0\",\"overwrite\":true}", "{\"weights\":\"nf4-double\",\"head\":\"q6_k\"}",
      "{\"weights\":\"q8_0\",\"rounding\":\"plain\",\"container\":\"gguf\",\"threads\":2}",
      "{\"weights\":\"iq4_nl\",\"embeddings\":\"f16\",\"container\":\"folder\",\"pack\":\"on\"}", "{}",
  };
  enum { ALL = sizeof all / sizeof *all };
  const char *chosen = all[random_below(random, ALL)], *lent = all[random_below(random, ALL)];
  Bytes options = copy_bytes(chosen, strlen(chosen)), other = copy_bytes(lent, strlen(lent));
  if (random_below(random, 4) == 0) mutate(random, &options, 4096, &other);
  options.bytes[options.count < options.capacity ? options.count : options.capacity - 1] = 0;
  char folder[PATH_MAX + 16], out[PATH_MAX + 32], command[2 * PATH_MAX + 64];
  snprintf(folder, sizeof folder, "%s-out", work);
  mkdir(folder, 0700);
  snprintf(out, sizeof out, "%s/%s", folder, random_below(random, 2) == 0 ? "a.gguf" : "b");
  const int written = qwen_model_convert(path, out, (const char *)options.bytes, NULL, NULL) == QWEN_OK;
  struct dirent **left;
  const int count = scandir(folder, &left, NULL, NULL);
  if (count != (written ? 3 : 2)) abort();
  for (int i = 0; i < count; i++) free(left[i]);
  free(left);
  snprintf(command, sizeof command, "rm -rf '%s'", folder);
  if (system(command) != 0) perror(command);
  free(options.bytes);
  free(other.bytes);
  return written;
}

/* One case of a target that damages files. True if the model opened. */
static int file_case(const Target *target, unsigned long iteration) {
  static Place found[256];
  static size_t count = 0;
  static const Target *listed = NULL;
  if (listed != target) count = places(listed = target, found, 256);
  if (count == 0) {
    fprintf(stderr, "fuzz: no files for %s below %s\n", target->name, fixtures);
    exit(2);
  }
  Random random = {seed ^ (iteration + 1) * 0xd1342543de82ef95u};
  const Place *place = found + random_below(&random, count);
  const Place *donor = found + random_below(&random, count);
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%s/%s", fixtures, place->model, place->file);
  Bytes text = read_bytes(path);
  snprintf(path, sizeof path, "%s/%s/%s", fixtures, donor->model, donor->file);
  Bytes other = read_bytes(path);
  mutate(&random, &text, target->head, &other);
  lay_out(place, &text);
  if (is_gguf(place->file)) {
    snprintf(path, sizeof path, "%s/%s", work, place->file);
  } else {
    snprintf(path, sizeof path, "%s", work);
  }
  qwen_model model = NULL;
  char *plan = NULL;
  if (target->converts) {
    const int written = convert(&random, path);
    free(text.bytes);
    free(other.bytes);
    return written;
  }
  qwen_model_plan(path, NULL, &plan);
  qwen_string_free(plan);
  const char *options = random_below(&random, 2) == 0 ? "{\"load\":\"map\"}" : "{\"load\":\"copy\"}";
  const int opened = qwen_model_open(&model, path, options, NULL, NULL) == QWEN_OK;
  if (opened) use(model);
  qwen_model_close(model);
  free(text.bytes);
  free(other.bytes);
  return opened;
}

static int32_t ignore(const qwen_event *event, void *user) {
  (void)event;
  (void)user;
  return QWEN_CONTINUE;
}

/* One damaged request to a sound model. True if it was served. */
static int request_case(unsigned long iteration) {
  static const char *const requests[] = {
      "{\"prompt\":\"Once upon\",\"max_new_tokens\":3,\"temperature\":0.7,\"top_k\":5,\"top_p\":0.9,\"seed\":1}",
      "{\"prompt_ids\":[1,2,3],\"max_new_tokens\":3,\"stop\":[\"a\",\"b\"],\"stop_ids\":[5],\"logprobs\":2}",
      "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"hello\"}],"
      "\"max_new_tokens\":2,\"logit_bias\":{\"5\":-3}}",
      "{\"query\":\"hi\",\"history\":[[\"a\",\"b\"]],\"system\":\"\",\"max_new_tokens\":2,\"deadline_ms\":1000}",
      "{\"query\":\"a\",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
      "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}],\"max_new_tokens\":2}",
      "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"1\","
      "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,null]}}}]},{\"role\":\"tool\",\"content\":\"r\"}],\"tools\":"
      "[{\"name_for_model\":\"f\",\"parameters\":[{\"name\":\"a\",\"required\":true}],\"args_format\":\"code\"}],"
      "\"tool_choice\":\"required\",\"tool_format\":\"react\",\"react_wording\":\"apis\",\"max_new_tokens\":4}",
      "{\"context\":64,\"kv_cache\":\"f16\",\"prefill_chunk\":7}",
      "{\"special\":[\"<|im_start|>\"],\"disallow\":\"all\"}",
      "{\"load\":\"map\",\"threads\":1,\"compute\":\"float32\"}",
  };
  enum { REQUESTS = sizeof requests / sizeof *requests };
  static qwen_model model = NULL;
  static char path[2 * PATH_MAX];
  if (model == NULL) {
    snprintf(path, sizeof path, "%s/qwen2-tied", fixtures);
    if (qwen_model_open(&model, path, NULL, NULL, NULL) != QWEN_OK) {
      fprintf(stderr, "fuzz: %s\n", qwen_last_error());
      exit(2);
    }
  }
  Random random = {seed ^ (iteration + 1) * 0x9fb21c651e98df25u};
  const char *chosen = requests[random_below(&random, REQUESTS)];
  const char *lent = requests[random_below(&random, REQUESTS)];
  Bytes text = copy_bytes(chosen, strlen(chosen));
  Bytes other = copy_bytes(lent, strlen(lent));
  mutate(&random, &text, 4096, &other);
  text.bytes[text.count < text.capacity ? text.count : text.capacity - 1] = 0;
  const char *json = (const char *)text.bytes;
  char *out = NULL;
  int32_t ids[256];
  size_t count = 0;
  const qwen_event *event = NULL;
  qwen_session session = NULL;
  int served = qwen_session_open(&session, model, json) == QWEN_OK;
  qwen_session_close(session);
  served |= qwen_tokenize(model, json, text.count, json, ids, 256, &count) == QWEN_OK;
  served |= qwen_render(model, json, ids, 256, &count, &out) == QWEN_OK;
  qwen_string_free(out);
  if (qwen_session_open(&session, model, "{\"context\":128}") == QWEN_OK) {
    out = NULL;
    served |= qwen_chat(session, json, ignore, NULL, &out) == QWEN_OK;
    qwen_string_free(out);
    out = NULL;
    served |= qwen_generate(session, "ab", 2, json, NULL, NULL, &out) == QWEN_OK;
    qwen_string_free(out);
    if (qwen_begin(session, json) == QWEN_OK) {
      served = 1;
      while (qwen_next(session, -1, &event) == QWEN_OK) {
      }
    }
  }
  qwen_session_close(session);
  served |= qwen_model_open(&(qwen_model){NULL}, json, json, NULL, NULL) == QWEN_OK;
  free(text.bytes);
  free(other.bytes);
  return served;
}

static int run_case(const Target *target, unsigned long iteration) {
  return target->takes == NULL ? request_case(iteration) : file_case(target, iteration);
}

/* Runs a target for some seconds. Returns the number of cases that ended their process. */
static int run(const Target *target, double seconds, const char *self) {
  const double end = now() + seconds;
  int failures = 0;
  Progress *progress =
      mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (progress == MAP_FAILED) abort();
  while (now() < end && failures < MOST_FAILURES) {
    const pid_t child = fork();
    if (child == 0) {
      while (now() < end) {
        alarm(CASE_SECONDS);
        const int served = run_case(target, progress->iteration);
        if (served) progress->served++; else progress->refused++;
        progress->iteration++;
      }
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) exit(2);
    printf("FAIL %s case %lu: %s %d; again with: %s %s 0 %llu %s %lu\n", target->name, progress->iteration,
           WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit code",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), self, fixtures,
           (unsigned long long)seed, target->name, progress->iteration);
    progress->iteration++;
    failures++;
  }
  printf("%s %s: %lu cases, %lu served, %lu refused\n", failures == 0 ? "ok  " : "FAIL", target->name,
         progress->served + progress->refused, progress->served, progress->refused);
  munmap(progress, sizeof *progress);
  return failures;
}

int main(int argc, char **argv) {
  static char absolute[PATH_MAX];
  if (argc < 3 || argc == 5 || realpath(argv[1], absolute) == NULL) {
    fprintf(stderr, "usage: fuzz FIXTURES SECONDS [SEED [TARGET ITERATION]]\n");
    return 2;
  }
  fixtures = absolute;
  setvbuf(stdout, NULL, _IOLBF, 0);
  seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
  const char *base = getenv("TMPDIR");
  snprintf(work, sizeof work, "%s/libqwen-fuzz-XXXXXX", base != NULL ? base : "/tmp");
  if (mkdtemp(work) == NULL) {
    perror(work);
    return 2;
  }
  /* A length from a damaged file must not become an allocation. */
  const struct rlimit limit = {(rlim_t)8 << 30, (rlim_t)8 << 30};
  setrlimit(RLIMIT_AS, &limit);
  int failures = 0;
  if (argc > 5) {
    for (int i = 0; i < TARGETS; i++) {
      if (strcmp(targets[i].name, argv[4]) != 0) continue;
      const int served = run_case(targets + i, strtoul(argv[5], NULL, 10));
      printf("%s; damaged files are in %s\n", served ? "served" : qwen_last_error(), work);
      return 0;
    }
    fprintf(stderr, "fuzz: no target %s\n", argv[4]);
    return 2;
  }
  printf("seed %llu\n", (unsigned long long)seed);
  const double share = strtod(argv[2], NULL) / TARGETS;
  for (int i = 0; i < TARGETS; i++) failures += run(targets + i, share, argv[0]);
  char command[PATH_MAX + 16];
  snprintf(command, sizeof command, "rm -rf '%s'", work);
  if (system(command) != 0) perror(work);
  return failures == 0 ? 0 : 1;
}
