/* A decoded token allocates nothing. Runs with count_malloc.so preloaded. */
#include <dlfcn.h>

#include "contract.h"

static long (*count_malloc)(void);
static long at[256];
static int pieces;

static int32_t watch(const qwen_event* event, void* user) {
  (void)user;
  if (event->kind == QWEN_EVENT_TEXT && pieces < 256) at[pieces++] = count_malloc();
  return QWEN_CONTINUE;
}

/* Most allocations between two pieces of a run, and how often there were any. */
static void check_run(qwen_session session, const char* name, const char* options) {
  char* out = NULL;
  int index, any = 0;
  long most = 0;
  /* Once before: the runtime makes the types of a way to generate when it is first taken. */
  qwen_session_reset(session);
  qwen_generate(session, "Once upon a time", QWEN_NUL, options, NULL, NULL, NULL);
  pieces = 0;
  qwen_session_reset(session);
  qwen_generate(session, "Once upon a time", QWEN_NUL, options, watch, NULL, &out);
  qwen_string_free(out);
  for (index = 9; index < pieces - 1; index++) {
    long made = at[index] - at[index - 1];
    if (made > 0) any++;
    if (made > most) most = made;
  }
  /* A page of keys and values every 64 tokens is memory that the conversation needs, not a cost of the token. */
  check(pieces > 150 && any <= pieces / 64 + 1 && most <= 4,
        "%s: of %d pieces %d allocated, at most %ld times", name, pieces, any, most);
}

int main(int argc, char** argv) {
  qwen_model model;
  qwen_session session;
  if (argc < 2) return 2;
  *(void**)&count_malloc = dlsym(RTLD_DEFAULT, "count_malloc");
  if (count_malloc == NULL) {
    check(0, "count_malloc.so is preloaded");
    return 1;
  }
  model = open_model(argv[1], NULL);
  session = open_session(model, NULL);
  check_run(session, "greedy", "{\"max_new_tokens\":200,\"min_new_tokens\":200}");
  check_run(session, "sampled",
            "{\"max_new_tokens\":200,\"min_new_tokens\":200,\"temperature\":0.8,\"top_k\":40,"
            "\"top_p\":0.9,\"min_p\":0.02,\"seed\":1}");
  check_run(session, "penalised",
            "{\"max_new_tokens\":200,\"min_new_tokens\":200,\"repetition_penalty\":1.1,"
            "\"frequency_penalty\":0.1,\"presence_penalty\":0.1}");
  check_run(session, "with stop texts",
            "{\"max_new_tokens\":200,\"min_new_tokens\":200,\"stop\":[\"zebra crossing\",\"qqq\"]}");
  check_run(session, "guessing",
            "{\"max_new_tokens\":200,\"min_new_tokens\":200,\"speculative\":\"lookup\"}");
  qwen_session_close(session);
  qwen_model_close(model);
  return contract_failures != 0;
}
