// Sleeping on a word of memory.
#define _GNU_SOURCE
#include "isa.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void qk_futex_wait(const void *word, uint32_t expected, int64_t timeout_ns) {
  struct timespec limit;
  struct timespec *wait = 0;
  if (timeout_ns >= 0) {
    limit.tv_sec = (time_t)(timeout_ns / 1000000000);
    limit.tv_nsec = (long)(timeout_ns % 1000000000);
    wait = &limit;
  }
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, wait, 0, 0);
}

void qk_futex_wake(const void *word, int32_t count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}

void qk_pause(void) {
#if QK_X86
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
