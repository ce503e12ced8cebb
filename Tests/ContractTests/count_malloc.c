/* Preloaded: counts allocations. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

extern void* __libc_malloc(size_t);
extern void* __libc_calloc(size_t, size_t);
extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);

static atomic_long counted;

/* For the test: allocations so far. */
long count_malloc(void);
long count_malloc(void) {
  return atomic_load(&counted);
}

void* malloc(size_t size) {
  atomic_fetch_add(&counted, 1);
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  atomic_fetch_add(&counted, 1);
  return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) {
  atomic_fetch_add(&counted, 1);
  return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) {
  atomic_fetch_add(&counted, 1);
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) {
  void* memory = memalign(alignment, size);
  if (memory == NULL) return ENOMEM;
  *out = memory;
  return 0;
}
