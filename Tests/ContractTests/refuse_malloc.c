/* Preloaded: refuses allocations that one library asks for, from the one of a number on. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

static uintptr_t begin, end;
static atomic_long asked;
static long first = -1, last = -1;

/* For the test: whose requests count, which of them (from 0) are refused. Begins to count anew. */
void refuse_malloc(const void* from, const void* to, long first_refused, long last_refused);
void refuse_malloc(const void* from, const void* to, long first_refused, long last_refused) {
  begin = (uintptr_t)from;
  end = (uintptr_t)to;
  first = first_refused;
  last = last_refused;
  atomic_store(&asked, 0);
}

/* For the test: requests so far. */
long count_requests(void);
long count_requests(void) {
  return atomic_load(&asked);
}

static int refuses(const void* caller) {
  uintptr_t address = (uintptr_t)caller;
  long number;
  if (address < begin || address >= end) return 0;
  number = atomic_fetch_add(&asked, 1);
  if (number < first || number > last) return 0;
  errno = ENOMEM;
  return 1;
}

#define REFUSES refuses(__builtin_return_address(0))

void* malloc(size_t size) {
  return REFUSES ? NULL : __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  return REFUSES ? NULL : __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) {
  return REFUSES ? NULL : __libc_realloc(old, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
  void* memory = REFUSES ? NULL : __libc_memalign(alignment, size);
  if (memory == NULL) return ENOMEM;
  *out = memory;
  return 0;
}
