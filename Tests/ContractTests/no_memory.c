/* Where the system refuses memory, calls fail with QWEN_ERROR_MEMORY or succeed, and the process lives:
 * no_memory MODEL FOLDER POINTS. Runs with refuse_malloc.so preloaded; every case is a child process. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "contract.h"

static void (*refuse)(const void*, const void*, long, long);
static long (*requests)(void);
static const char *library_begin, *library_end;
static const char* state_path;

enum { ENDED_OTHERWISE = 3 };

/* Nonzero if it succeeded; a failure other than of memory ends the child. */
static int fine(qwen_status status) {
  if (status == QWEN_OK) return 1;
  if (status == QWEN_ERROR_MEMORY) return 0;
  printf("     %s\n", qwen_last_error());
  fflush(stdout);
  _exit(ENDED_OTHERWISE);
}

/* Opens, answers, saves, reads back, closes: as much as there is memory for. */
static void scenario(const char* path) {
  qwen_model model = NULL;
  qwen_session session = NULL, other = NULL;
  char* text = NULL;
  int32_t ids[64];
  size_t count = 0;
  if (fine(qwen_model_open(&model, path, "{\"threads\":2}", NULL, NULL))) {
    fine(qwen_model_info(model, &text));
    qwen_string_free(text);
    fine(qwen_tokenize(model, "The quick brown fox", QWEN_NUL, NULL, ids, 64, &count));
    if (fine(qwen_session_open(&session, model, "{\"context\":128}"))) {
      text = NULL;
      fine(qwen_generate(session, "Once upon a time", QWEN_NUL,
                         "{\"max_new_tokens\":8,\"temperature\":0.8,\"top_k\":20,\"seed\":1}", NULL, NULL, &text));
      qwen_string_free(text);
      fine(qwen_session_save(session, state_path));
      if (fine(qwen_session_fork(&other, session))) qwen_session_close(other);
    }
    qwen_session_close(session);
  }
  qwen_model_close(model);
}

static int find(struct dl_phdr_info* info, size_t size, void* data) {
  int i;
  (void)size;
  (void)data;
  if (strstr(info->dlpi_name, "libqwen") == NULL) return 0;
  for (i = 0; i < info->dlpi_phnum; i++) {
    const char* begin = (const char*)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    if (info->dlpi_phdr[i].p_type != PT_LOAD || !(info->dlpi_phdr[i].p_flags & PF_X)) continue;
    library_begin = begin;
    library_end = begin + info->dlpi_phdr[i].p_memsz;
  }
  return 1;
}

/* Runs the scenario in a child with requests first...last refused, or with so much address space more. */
static int lives(const char* path, long first, long last, size_t space) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, 2);
    if (space > 0) {
      FILE* file = fopen("/proc/self/statm", "r");
      unsigned long pages = 0;
      struct rlimit limit;
      if (file == NULL || fscanf(file, "%lu", &pages) != 1) _exit(2);
      fclose(file);
      limit.rlim_cur = limit.rlim_max = pages * (unsigned long)sysconf(_SC_PAGESIZE) + space;
      setrlimit(RLIMIT_AS, &limit);
    }
    if (first >= 0) refuse(library_begin, library_end, first, last);
    scenario(path);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) return 0;
  if (status == 0) return 1;
  printf("     requests %ld to %ld refused, %lu bytes: %s %d\n", first, last, (unsigned long)space,
         WIFSIGNALED(status) ? "signal" : "code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return 0;
}

/* Requests of an undisturbed run, counted in a child. */
static long count(const char* path) {
  int pair[2];
  long found = -1;
  if (pipe(pair) != 0) return -1;
  if (fork() == 0) {
    refuse(library_begin, library_end, -1, -1);
    scenario(path);
    found = requests();
    _exit(write(pair[1], &found, sizeof found) != sizeof found);
  }
  close(pair[1]);
  if (read(pair[0], &found, sizeof found) != sizeof found) found = -1;
  close(pair[0]);
  wait(NULL);
  return found;
}

int main(int argc, char** argv) {
  static char state[4096];
  long total, points, i, dead[2] = {0, 0};
  int step, starved = 0;
  if (argc < 4) return 2;
  *(void**)&refuse = dlsym(RTLD_DEFAULT, "refuse_malloc");
  *(void**)&requests = dlsym(RTLD_DEFAULT, "count_requests");
  dl_iterate_phdr(find, NULL);
  if (refuse == NULL || requests == NULL || library_begin == NULL) {
    check(0, "refuse_malloc.so is preloaded");
    return 1;
  }
  snprintf(state, sizeof state, "%s/no-memory.state", argv[2]);
  state_path = state;
  points = atol(argv[3]);
  total = count(argv[1]);
  check(total > 100, "a run asks for memory %ld times", total);
  for (i = 0; i < points && total > 0; i++) {
    /* The first ones one by one, then spread over the run. */
    long at = i < points / 3 ? i : i * total / points;
    dead[0] += !lives(argv[1], at, at, 0);
    dead[1] += !lives(argv[1], at, total * 1000, 0);
  }
  check(dead[0] == 0, "one request refused at %ld places: %ld processes ended", points, dead[0]);
  check(dead[1] == 0, "all requests from there on refused: %ld processes ended", dead[1]);
  for (step = 1; step <= 48; step++) starved += !lives(argv[1], -1, -1, (size_t)step * step << 16);
  check(starved == 0, "limits of address space, 48 steps: %d processes ended", starved);
  return contract_failures != 0;
}
