// The `qwen` command: a host of libqwen like any other. It knows include/qwen.h and libc, nothing else.
import Glibc

exit(runCommandLine())
