/* A decoded token asks the system for nothing but to wait and to wake: once a run has warmed up and weights lie where
   they stay, a filter ends the process at any other call. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"

/* Pieces of a run between which nothing is asked: before the next page of keys and values, each 64 tokens. */
enum { FIRST = 10, LAST = 50, CAN_NOT_FILTER = 77 };

/* From now on only futex, and leaving, for all threads; and the clock, which some machines read by a call. */
static int forbid(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

static int32_t watch(const qwen_event* event, void* user) {
  static int pieces;
  (void)user;
  if (event->kind != QWEN_EVENT_TEXT) return QWEN_CONTINUE;
  pieces++;
  if (pieces == FIRST && forbid() != 0) _exit(CAN_NOT_FILTER);
  if (pieces == LAST) syscall(SYS_exit_group, 0);
  return QWEN_CONTINUE;
}

static void run(const char* path, const char* options) {
  qwen_model model = open_model(path, "{\"threads\":2,\"pack\":\"on\"}");
  qwen_session session = open_session(model, NULL);
  char* out = NULL;
  qwen_generate(session, "Once upon a time", QWEN_NUL, options, watch, NULL, &out);
  _exit(3);
}

int main(int argc, char** argv) {
  static const struct {
    const char *name, *options;
  } runs[] = {
      {"greedy", "{\"max_new_tokens\":200,\"min_new_tokens\":200}"},
      {"sampled",
       "{\"max_new_tokens\":200,\"min_new_tokens\":200,\"temperature\":0.8,\"top_k\":40,\"top_p\":0.9,"
       "\"repetition_penalty\":1.1,\"seed\":1,\"stop\":[\"zebra crossing\"]}"},
  };
  size_t i;
  if (argc < 2) return 2;
  for (i = 0; i < sizeof runs / sizeof *runs; i++) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) run(argv[1], runs[i].options);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == CAN_NOT_FILTER) {
      printf("skip %s: system calls can't be filtered here\n", runs[i].name);
      continue;
    }
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
          "%s: %d tokens make no system call but futex (status 0x%x)", runs[i].name, LAST - FIRST, (unsigned)status);
  }
  return contract_failures != 0;
}
