// Which processors the process may run on.
#define _GNU_SOURCE
#include "isa.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 8192, BITS = 8 * sizeof(unsigned long) };

int32_t qk_processors(int32_t *numbers, int32_t room) {
  unsigned long mask[MOST / BITS] = {0};
  // Not the function of libc, which refuses machines of more processors than cpu_set_t has bits.
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int32_t count = 0;
  for (int32_t i = 0; bytes > 0 && i < (int32_t)bytes * 8; i++) {
    if ((mask[(size_t)i / BITS] >> (size_t)i % BITS & 1) == 0) continue;
    if (count < room) numbers[count] = i;
    count++;
  }
  return count;
}
