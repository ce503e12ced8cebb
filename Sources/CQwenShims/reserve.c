// The Swift runtime ends the process when malloc refuses it memory. In a library that is not its to decide: the linker
// sends the library's own calls here (--wrap), and what the system refuses comes from a reserve of address space that
// costs nothing until then. Calls of the interface fail with QWEN_ERROR_MEMORY once half of the reserve is in use.
//
// The reserve is made of granules of 64 bytes; of each, one bit says that it is taken, one that it is the last of its
// block. First fit from a cursor, under a spinning lock: this is the way of the last resort, not a fast one.
#include "include/CQwenShims.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum { GRANULE = 64, WORD = 64, MOST_PAGES = 4096 };
static const size_t sizes[] = {(size_t)256 << 20, (size_t)64 << 20, (size_t)16 << 20};

// Weak: a link without --wrap has none of them, and calls none of the functions below.
#define REAL __attribute__((weak))
extern void *__real_malloc(size_t) REAL;
extern void *__real_calloc(size_t, size_t) REAL;
extern void *__real_realloc(void *, size_t) REAL;
extern void __real_free(void *) REAL;
extern int __real_posix_memalign(void **, size_t, size_t) REAL;
extern size_t __real_malloc_usable_size(void *) REAL;

static struct {
  char *base; // NULL: there is no reserve
  size_t granules, cursor;
  uint64_t *taken, *last; // one bit a granule
  _Atomic size_t used;    // granules
  atomic_flag lock;
} reserve = {.lock = ATOMIC_FLAG_INIT};

// Runs while the library is loaded, before anybody can call it.
__attribute__((constructor)) static void set_aside(void) {
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const size_t granules = sizes[i] / GRANULE;
    const size_t bits = granules / 8;
    void *base = mmap(NULL, sizes[i] + 2 * bits, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) continue;
    reserve.base = base;
    reserve.granules = granules;
    reserve.taken = (uint64_t *)(reserve.base + sizes[i]);
    reserve.last = reserve.taken + granules / WORD;
    return;
  }
}

static int is_set(const uint64_t *bits, size_t i) { return bits[i / WORD] >> i % WORD & 1; }
static void set(uint64_t *bits, size_t i) { bits[i / WORD] |= (uint64_t)1 << i % WORD; }
static void clear(uint64_t *bits, size_t i) { bits[i / WORD] &= ~((uint64_t)1 << i % WORD); }

static void lock(void) {
  while (atomic_flag_test_and_set_explicit(&reserve.lock, memory_order_acquire)) sched_yield();
}
static void unlock(void) { atomic_flag_clear_explicit(&reserve.lock, memory_order_release); }

static int is_ours(const void *pointer) {
  const uintptr_t base = (uintptr_t)reserve.base;
  return base != 0 && (uintptr_t)pointer - base < reserve.granules * GRANULE;
}

// The first of `count` free granules from `from` on that begin at a multiple of `step`, or the number of granules.
static size_t search(size_t from, size_t count, size_t step) {
  size_t start = (from + step - 1) / step * step;
  while (start < reserve.granules && count <= reserve.granules - start) {
    size_t i = 0;
    while (i < count && !is_set(reserve.taken, start + i)) i++;
    if (i == count) return start;
    start = (start + i + step) / step * step;
  }
  return reserve.granules;
}

static void *take(size_t size, size_t alignment) {
  if (reserve.base == NULL || size > reserve.granules * GRANULE / 4 || alignment > MOST_PAGES) {
    errno = ENOMEM;
    return NULL;
  }
  const size_t count = size == 0 ? 1 : (size + GRANULE - 1) / GRANULE;
  const size_t step = alignment <= GRANULE ? 1 : alignment / GRANULE;
  void *found = NULL;
  lock();
  size_t start = search(reserve.cursor, count, step);
  if (start == reserve.granules) start = search(0, count, step);
  if (start < reserve.granules) {
    for (size_t i = 0; i < count; i++) set(reserve.taken, start + i);
    set(reserve.last, start + count - 1);
    reserve.cursor = start + count;
    found = reserve.base + start * GRANULE;
    atomic_fetch_add_explicit(&reserve.used, count, memory_order_relaxed);
  }
  unlock();
  if (found == NULL) errno = ENOMEM;
  return found;
}

static size_t granules_of(const void *pointer) {
  const size_t start = (size_t)((const char *)pointer - reserve.base) / GRANULE;
  size_t count = 1;
  while (!is_set(reserve.last, start + count - 1)) count++;
  return count;
}

static void give_back(void *pointer) {
  const size_t start = (size_t)((char *)pointer - reserve.base) / GRANULE;
  lock();
  const size_t count = granules_of(pointer);
  for (size_t i = 0; i < count; i++) clear(reserve.taken, start + i);
  clear(reserve.last, start + count - 1);
  atomic_fetch_sub_explicit(&reserve.used, count, memory_order_relaxed);
  unlock();
}

static size_t room(void *pointer) {
  return is_ours(pointer) ? granules_of(pointer) * GRANULE : __real_malloc_usable_size(pointer);
}

HIDDEN void *__wrap_malloc(size_t size) {
  void *pointer = __real_malloc(size);
  return pointer != NULL ? pointer : take(size, 1);
}

HIDDEN void *__wrap_calloc(size_t count, size_t size) {
  void *pointer = __real_calloc(count, size);
  size_t bytes;
  if (pointer != NULL || __builtin_mul_overflow(count, size, &bytes)) return pointer;
  pointer = take(bytes, 1);
  return pointer == NULL ? NULL : memset(pointer, 0, bytes);
}

HIDDEN void __wrap_free(void *pointer) {
  if (is_ours(pointer)) {
    give_back(pointer);
  } else {
    __real_free(pointer);
  }
}

HIDDEN void *__wrap_realloc(void *pointer, size_t size) {
  if (pointer == NULL) return __wrap_malloc(size);
  if (!is_ours(pointer)) {
    void *grown = __real_realloc(pointer, size);
    if (grown != NULL || size == 0) return grown;
  }
  void *moved = is_ours(pointer) ? __wrap_malloc(size) : take(size, 1);
  if (moved == NULL) return NULL;
  const size_t before = room(pointer);
  memcpy(moved, pointer, before < size ? before : size);
  __wrap_free(pointer);
  return moved;
}

HIDDEN int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
  const int code = __real_posix_memalign(out, alignment, size);
  if (code != ENOMEM) return code;
  void *pointer = take(size, alignment);
  if (pointer == NULL) return ENOMEM;
  *out = pointer;
  return 0;
}

HIDDEN size_t __wrap_malloc_usable_size(void *pointer) { return room(pointer); }

// The runtime's C++: operators new and delete, which else throw what nobody catches.
HIDDEN void *__wrap__Znwm(size_t size) {
  void *pointer = __wrap_malloc(size == 0 ? 1 : size);
  if (pointer == NULL) __builtin_trap();
  return pointer;
}

HIDDEN void __wrap__ZdlPvm(void *pointer, size_t size) {
  (void)size;
  __wrap_free(pointer);
}

HIDDEN void *__wrap__ZnwmSt11align_val_t(size_t size, size_t alignment) {
  void *pointer = NULL;
  if (__wrap_posix_memalign(&pointer, alignment, size == 0 ? 1 : size) != 0) __builtin_trap();
  return pointer;
}

HIDDEN void __wrap__ZdlPvmSt11align_val_t(void *pointer, size_t size, size_t alignment) {
  (void)size;
  (void)alignment;
  __wrap_free(pointer);
}

int qs_reserve_is_low(void) {
  return atomic_load_explicit(&reserve.used, memory_order_relaxed) > reserve.granules / 2;
}

int qs_memory_is_there(size_t bytes) {
  void *trial = mmap(NULL, bytes == 0 ? 1 : bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (trial == MAP_FAILED) return 0;
  munmap(trial, bytes == 0 ? 1 : bytes);
  return 1;
}
