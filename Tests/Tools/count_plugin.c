// Counts what an aarch64 program executes in qemu-user: instructions of the vector unit, loads and stores, all others.
//
//   cc -shared -fPIC -o count_plugin.so Tests/Tools/count_plugin.c
//   qemu-aarch64 -plugin ./count_plugin.so -d plugin PROGRAM
//
// Prints the three numbers to standard error at the end. The functions of QEMU 7.2 that it uses are declared here: their
// header is in no package.
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*translated)(uint64_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *number, uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*ending)(uint64_t, void *), void *data);
void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t counts[3];

// Bits 25 to 28 tell the kinds apart.
static int kind_of(const void *bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof word);
  if ((word >> 25 & 7) == 7) return 0;
  return (word >> 25 & 5) == 4 ? 1 : 2;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block) {
  (void)id;
  uint64_t kinds[3] = {0};
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    kinds[kind_of(qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)))]++;
  }
  for (int k = 0; k < 3; k++) {
    if (kinds[k] > 0) qemu_plugin_register_vcpu_tb_exec_inline(block, 0, counts + k, kinds[k]);
  }
}

static void ending(uint64_t id, void *data) {
  (void)id, (void)data;
  char text[80];
  snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", counts[0], counts[1], counts[2]);
  qemu_plugin_outs(text);
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *facts, int count,
                                                               char **arguments) {
  (void)facts, (void)count, (void)arguments;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ending, NULL);
  return 0;
}
