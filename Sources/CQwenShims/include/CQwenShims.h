/* What stands between the static Swift runtime and the system: definitions that only the linker sees, so that the
 * finished library loads on older systems and leaves its host's signals alone, and a reserve of memory. */
#ifndef CQWEN_SHIMS_H
#define CQWEN_SHIMS_H

#include <stddef.h>

/* Nonzero: the system has refused so much memory that half of the reserve is in use. Any thread. */
int qs_reserve_is_low(void);

/* Nonzero: the system would hand out so many bytes at this moment. Any thread. */
int qs_memory_is_there(size_t bytes);

#endif
