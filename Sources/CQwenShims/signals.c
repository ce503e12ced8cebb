// The static Swift runtime installs a crash reporter while it loads if SWIFT_ROOT or SWIFT_BACKTRACE ask for
// it. In a library, signals are the host's. The linker sends its calls here (--wrap): handlers of crash
// signals and alternate stacks are not installed, everything else is passed on.
#include <signal.h>
#include <stddef.h>

#define HIDDEN __attribute__((visibility("hidden")))

// Weak: a link without --wrap has none, and calls neither of the two functions below.
extern int __real_sigaction(int, const struct sigaction *, struct sigaction *) __attribute__((weak));
extern int __real_sigaltstack(const stack_t *, stack_t *) __attribute__((weak));

HIDDEN int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old) {
  switch (number) {
    case SIGQUIT:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGSEGV:
    case SIGTRAP:
      action = NULL;
      break;
    default:
      break;
  }
  return __real_sigaction(number, action, old);
}

HIDDEN int __wrap_sigaltstack(const stack_t *stack, stack_t *old) {
  (void)stack;
  return __real_sigaltstack(NULL, old);
}
