/* Damages bytes: the same seed damages the same way. */
#ifndef MUTATE_H
#define MUTATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint64_t state;
} Random;

/* splitmix64. */
uint64_t random_next(Random *random);
/* A number below `bound`, 0 if that is 0. */
size_t random_below(Random *random, size_t bound);

typedef struct {
  uint8_t *bytes;
  size_t count, capacity;
} Bytes;

/* Damages `text` in one to four places, mostly among its first `head` bytes; `other` lends pieces. */
void mutate(Random *random, Bytes *text, size_t head, const Bytes *other);

/* Reads a file; count 0 if it can't be read. Room for growth is left behind the bytes. */
Bytes read_bytes(const char *path);
Bytes copy_bytes(const void *bytes, size_t count);

#endif
