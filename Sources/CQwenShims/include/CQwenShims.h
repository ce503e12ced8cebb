/* Definitions that only the linker sees: functions of newer C libraries that the static Swift runtime
 * asks for, supplied here so that the finished library also loads on older systems. */
#ifndef CQWEN_SHIMS_H
#define CQWEN_SHIMS_H
#endif
