#include <stdlib.h>
/* The library is inert in its host: signals, descriptors, output, threads, locale, rounding mode
 * and working directory are what they were, from dlopen to dlclose. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <sys/stat.h>

#include "check.h"
#include "qwen.h"

#if defined(__x86_64__)
#define FLOAT_MODE() __builtin_ia32_stmxcsr()
#define SET_FLOAT_MODE(mode) __builtin_ia32_ldmxcsr(mode)
#else
#define FLOAT_MODE() 0u
#define SET_FLOAT_MODE(mode) (void)(mode)
#endif

/* This program does not link the library: it loads it the way a plugin is loaded. */
static const char* (*last_error)(void);
static const char* contract_sentence(void) {
  return last_error != NULL ? last_error() : "";
}

typedef struct {
  char caught[32], ignored[32], blocked[32], locale[256], directory[1024];
  int threads, descriptors, alternate_stack;
  unsigned float_mode, umask;
} State;

static int entries(const char* path) {
  DIR* directory = opendir(path);
  int count = 0;
  if (directory == NULL) return -1;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

/* Signals 32 and 33 belong to the C library's threads. */
static void without_library_signals(char* mask) {
  unsigned long long bits = strtoull(mask, NULL, 16) & ~0x180000000ULL;
  snprintf(mask, 32, "%016llx", bits);
}

static State observe(void) {
  State state;
  stack_t stack;
  char line[256];
  FILE* file;
  memset(&state, 0, sizeof state);
  file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "SigCgt: %31s", state.caught) == 1) without_library_signals(state.caught);
    if (sscanf(line, "SigIgn: %31s", state.ignored) == 1) without_library_signals(state.ignored);
    sscanf(line, "SigBlk: %31s", state.blocked);
    sscanf(line, "Threads: %d", &state.threads);
  }
  if (file != NULL) fclose(file);
  state.descriptors = entries("/proc/self/fd");
  snprintf(state.locale, sizeof state.locale, "%s", setlocale(LC_ALL, NULL));
  if (getcwd(state.directory, sizeof state.directory) == NULL) state.directory[0] = 0;
  memset(&stack, 0, sizeof stack);
  sigaltstack(NULL, &stack);
  state.alternate_stack = !(stack.ss_flags & SS_DISABLE);
  state.float_mode = FLOAT_MODE() & 0xffc0u; /* modes and masks, not the sticky flags */
  state.umask = umask(0);
  umask((mode_t)state.umask);
  return state;
}

static void compare(State before, State after, const char* moment, int with_threads) {
  check(strcmp(before.caught, after.caught) == 0, "%s: no signal handler (%s, %s)", moment,
        before.caught, after.caught);
  check(strcmp(before.ignored, after.ignored) == 0, "%s: no signal ignored", moment);
  check(strcmp(before.blocked, after.blocked) == 0, "%s: no signal blocked", moment);
  check(before.alternate_stack == after.alternate_stack, "%s: no alternate signal stack", moment);
  check(strcmp(before.locale, after.locale) == 0, "%s: locale is %s", moment, after.locale);
  check(strcmp(before.directory, after.directory) == 0, "%s: working directory unchanged", moment);
  check(before.umask == after.umask, "%s: umask unchanged", moment);
  check(before.float_mode == after.float_mode, "%s: floating-point mode %x is %x", moment,
        before.float_mode, after.float_mode);
  if (with_threads) check(after.threads == before.threads, "%s: %d threads", moment, after.threads);
}

/* Points descriptors 1 and 2 at files; lines of this test go to the old stdout. */
static int capture(int descriptor, const char* directory) {
  char path[1024];
  int file;
  snprintf(path, sizeof path, "%s/captured.%d", directory, descriptor);
  file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(file, descriptor);
  return file;
}

static long long size_of(int file) {
  struct stat facts;
  return fstat(file, &facts) == 0 ? (long long)facts.st_size : -1;
}

#define RESOLVE(name)                           \
  do {                                          \
    void* address = dlsym(library, #name);      \
    memcpy(&name##_, &address, sizeof address); \
  } while (0)

int main(int argc, char** argv) {
  qwen_status (*qwen_model_open_)(qwen_model*, const char*, const char*, qwen_progress_callback,
                                  void*);
  qwen_status (*qwen_session_open_)(qwen_session*, qwen_model, const char*);
  qwen_status (*qwen_chat_)(qwen_session, const char*, qwen_event_callback, void*, char**);
  qwen_status (*qwen_begin_)(qwen_session, const char*);
  qwen_status (*qwen_next_)(qwen_session, int64_t, const qwen_event**);
  void (*qwen_session_close_)(qwen_session);
  void (*qwen_model_close_)(qwen_model);
  void (*qwen_string_free_)(char*);
  const char* (*qwen_last_error_)(void);
  static const char* const request =
      "{\"query\":\"Count to five.\",\"max_new_tokens\":16,\"do_sample\":false}";
  const char* path = argc > 3 ? argv[3] : NULL;
  const qwen_event* event;
  qwen_session session = NULL;
  qwen_model model = NULL;
  char* text = NULL;
  qwen_status status;
  State before, loaded, opened, closed;
  int out, error;
  void* library;
  if (argc < 3) return 2;

  contract_out = fdopen(dup(1), "w");
  out = capture(1, argv[2]);
  error = capture(2, argv[2]);
  if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL) setlocale(LC_ALL, "C.UTF-8");
  SET_FLOAT_MODE(
      0xdfc0u); /* round up, flush to zero, denormals are zero: whatever a host may like */
  before = observe();
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  check(library != NULL, "the library loads %s", library == NULL ? dlerror() : "");
  if (library == NULL) return 1;
  loaded = observe();
  compare(before, loaded, "after loading the library", 1);

  RESOLVE(qwen_model_open);
  RESOLVE(qwen_session_open);
  RESOLVE(qwen_chat);
  RESOLVE(qwen_begin);
  RESOLVE(qwen_next);
  RESOLVE(qwen_session_close);
  RESOLVE(qwen_model_close);
  RESOLVE(qwen_string_free);
  RESOLVE(qwen_last_error);
  last_error = qwen_last_error_;
  status =
      qwen_model_open_(&model, path != NULL ? path : "/nonexistent", "{\"threads\":2}", NULL, NULL);
  if (path != NULL) {
    check(status == QWEN_OK, "the model opens");
    opened = observe();
    compare(before, opened, "after opening a model", 1);
    check(qwen_session_open_(&session, model, "{\"context\":256}") == QWEN_OK, "a session opens");
    check(qwen_chat_(session, request, NULL, NULL, &text) == QWEN_OK, "a chat runs");
    qwen_string_free_(text);
    compare(before, observe(), "after a chat", 0);
    check(qwen_begin_(session, request) == QWEN_OK, "a chat begins");
    while ((status = qwen_next_(session, -1, &event)) == QWEN_OK) continue;
    check(status == QWEN_DONE, "and is over");
    qwen_session_close_(session);
    qwen_model_close_(model);
  } else {
    check(status < 0, "a missing model is refused");
  }
  closed = observe();
  compare(before, closed, "after closing", 1);
  check(before.descriptors == closed.descriptors, "no descriptor is left open (%d, %d)",
        before.descriptors, closed.descriptors);
  dlclose(library);
  last_error = NULL;
  compare(before, observe(), "after unloading", 1);
  check(size_of(out) == 0, "nothing on stdout (%lld bytes)", size_of(out));
  check(size_of(error) == 0, "nothing on stderr (%lld bytes)", size_of(error));
  return contract_failures != 0;
}
