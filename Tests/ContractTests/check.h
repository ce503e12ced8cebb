/* One line a check. The including file says where the library's last sentence comes from. */
#ifndef CHECK_H
#define CHECK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library's sentence on its last failure, "" without a library. */
static const char* contract_sentence(void);

static int contract_failures;
static FILE* contract_out; /* where lines go when stdout is under test; else stdout */

/* Prints "ok name" or "FAIL name" with the library's sentence, and counts. */
static void check(int holds, const char* name, ...) {
  FILE* out = contract_out != NULL ? contract_out : stdout;
  va_list arguments;
  fputs(holds ? "ok   " : "FAIL ", out);
  va_start(arguments, name);
  vfprintf(out, name, arguments);
  va_end(arguments);
  if (!holds) {
    contract_failures++;
    fprintf(out, " [last error: %s]", contract_sentence());
  }
  fputc('\n', out);
  fflush(out);
}

#endif
