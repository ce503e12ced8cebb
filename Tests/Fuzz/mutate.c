#include "mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROWTH = 4096 };

uint64_t random_next(Random *random) {
  uint64_t z = random->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

size_t random_below(Random *random, size_t bound) {
  return bound == 0 ? 0 : (size_t)(random_next(random) % bound);
}

Bytes copy_bytes(const void *bytes, size_t count) {
  Bytes copy = {malloc(count + GROWTH), count, count + GROWTH};
  if (copy.bytes == NULL) abort();
  if (count != 0) memcpy(copy.bytes, bytes, count);
  return copy;
}

Bytes read_bytes(const char *path) {
  FILE *file = fopen(path, "rb");
  Bytes empty = {NULL, 0, 0};
  if (file == NULL) return empty;
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  Bytes read = {malloc((size_t)size + GROWTH), (size_t)size, (size_t)size + GROWTH};
  if (read.bytes == NULL) abort();
  read.count = fread(read.bytes, 1, (size_t)size, file);
  fclose(file);
  return read;
}

/* Puts `count` bytes at `place`, in front of what is there. */
static void insert(Bytes *text, size_t place, const void *bytes, size_t count) {
  if (count > text->capacity - text->count) count = text->capacity - text->count;
  memmove(text->bytes + place + count, text->bytes + place, text->count - place);
  memcpy(text->bytes + place, bytes, count);
  text->count += count;
}

static void erase(Bytes *text, size_t place, size_t count) {
  if (count > text->count - place) count = text->count - place;
  memmove(text->bytes + place, text->bytes + place + count, text->count - place - count);
  text->count -= count;
}

/* Numbers at the edges of what fields can hold. */
static uint64_t edge(Random *random) {
  static const uint64_t edges[] = {
      0, 1, 2, 31, 32, 33, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
      0xffffffff, 0x100000000, 0x3fffffffffffffff, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX};
  const uint64_t value = edges[random_below(random, sizeof edges / sizeof *edges)];
  return random_below(random, 4) == 0 ? value - random_below(random, 64) : value;
}

static void once(Random *random, Bytes *text, size_t head, const Bytes *other) {
  static const char *const words[] = {
      "[", "{", "]", "}", "\"", ",", ":", "null", "true", "-1", "0", "1e999", "99999999999999999999",
      "9223372036854775807", "-9223372036854775808", "4294967296", "1.5", "\\u0000", "\\ud800", "\\",
      "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":",
      "\xff", "\xc3", "\xf4\x90\x80\x80", "\n", " ", "=", "<|im_end|>", "<|endoftext|>", "F32", "BF16"};
  if (head > text->count) head = text->count;
  const size_t range = random_below(random, 8) == 0 ? text->count : head;
  size_t place = random_below(random, range);
  switch (random_below(random, 10)) {
    case 0:
      if (text->count != 0) text->bytes[place] ^= (uint8_t)(1u << random_below(random, 8));
      break;
    case 1:
      if (text->count != 0) text->bytes[place] = (uint8_t)random_next(random);
      break;
    case 2:
    case 3: { /* an integer field */
      const size_t width = (size_t)1 << random_below(random, 4);
      const uint64_t value = edge(random);
      if (random_below(random, 2) == 0) place = place / width * width;
      if (place + width <= text->count) memcpy(text->bytes + place, &value, width);
      break;
    }
    case 4:
      text->count = random_below(random, 3) == 0 ? random_below(random, text->count + 1) : place;
      break;
    case 5: erase(text, place, 1 + random_below(random, 32)); break;
    case 6: {
      const char *word = words[random_below(random, sizeof words / sizeof *words)];
      insert(text, place, word, strlen(word));
      break;
    }
    case 7: { /* a decimal number becomes another */
      char number[32];
      while (place < text->count && (text->bytes[place] < '0' || text->bytes[place] > '9')) place++;
      size_t end = place;
      while (end < text->count && text->bytes[end] >= '0' && text->bytes[end] <= '9') end++;
      const int length = snprintf(number, sizeof number, random_below(random, 4) == 0 ? "-%llu" : "%llu",
                                  (unsigned long long)edge(random));
      erase(text, place, end - place);
      insert(text, place, number, (size_t)length);
      break;
    }
    case 8: { /* a piece of the same file again */
      const size_t from = random_below(random, text->count);
      uint8_t piece[64];
      size_t count = 1 + random_below(random, sizeof piece);
      if (count > text->count - from) count = text->count - from;
      memcpy(piece, text->bytes + from, count);
      insert(text, place, piece, count);
      break;
    }
    default:
      if (other != NULL && other->count != 0) {
        const size_t from = random_below(random, other->count);
        size_t count = 1 + random_below(random, 256);
        if (count > other->count - from) count = other->count - from;
        if (count > text->count - place) count = text->count - place;
        memcpy(text->bytes + place, other->bytes + from, count);
      }
      break;
  }
}

void mutate(Random *random, Bytes *text, size_t head, const Bytes *other) {
  for (size_t left = 1 + random_below(random, 4); left != 0; left--) once(random, text, head, other);
}
