/* Null, garbage and closed handles, impossible arguments and options: each gives a status. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "contract.h"

/* Every function that takes a handle, called with otherwise good arguments. */
enum { MODEL_CALLS = 6, SESSION_CALLS = 9 };
static const char* const model_names[MODEL_CALLS] = {
    "qwen_model_info", "qwen_tokenize",     "qwen_detokenize",
    "qwen_token_id",   "qwen_session_open", "qwen_render",
};
static const char* const session_names[SESSION_CALLS] = {
    "qwen_session_info", "qwen_session_reset", "qwen_session_cancel", "qwen_generate", "qwen_chat",
    "qwen_begin",        "qwen_next",          "qwen_logits",         "qwen_score",
};
static const char* const request = "{\"query\":\"hi\",\"max_new_tokens\":1}";

/* Calls model function `index`; *clean tells whether all outputs came back as NULL or 0. */
static qwen_status call_model(int index, qwen_model handle, int* clean) {
  char *text = (char*)"x", buffer[64];
  int32_t ids[64] = {0}, id = 77;
  size_t count = 77;
  qwen_session session = (qwen_session)(void*)ids;
  qwen_status status = QWEN_OK;
  *clean = 1;
  switch (index) {
    case 0:
      status = qwen_model_info(handle, &text);
      *clean = text == NULL;
      break;
    case 1:
      status = qwen_tokenize(handle, "a", 1, NULL, ids, 64, &count);
      *clean = count == 0;
      break;
    case 2:
      status = qwen_detokenize(handle, ids, 1, NULL, buffer, 64, &count);
      *clean = count == 0;
      break;
    case 3:
      status = qwen_token_id(handle, "a", 1, &id);
      *clean = id <= 0;
      break;
    case 4:
      status = qwen_session_open(&session, handle, NULL);
      *clean = session == NULL;
      break;
    case 5:
      status = qwen_render(handle, request, ids, 64, &count, &text);
      *clean = count == 0 && text == NULL;
      break;
  }
  return status;
}

static qwen_status call_session(int index, qwen_session handle, int* clean) {
  char* text = (char*)"x";
  int32_t ids[2] = {1, 2};
  float values[2];
  size_t written = 77;
  const qwen_event* event = (const qwen_event*)(void*)ids;
  qwen_status status = QWEN_OK;
  *clean = 1;
  switch (index) {
    case 0:
      status = qwen_session_info(handle, &text);
      *clean = text == NULL;
      break;
    case 1: status = qwen_session_reset(handle); break;
    case 2: status = qwen_session_cancel(handle); break;
    case 3:
      status = qwen_generate(handle, "a", 1, "{\"max_new_tokens\":1}", NULL, NULL, &text);
      *clean = text == NULL;
      break;
    case 4:
      status = qwen_chat(handle, request, NULL, NULL, &text);
      *clean = text == NULL;
      break;
    case 5: status = qwen_begin(handle, request); break;
    case 6:
      status = qwen_next(handle, 0, &event);
      *clean = event == NULL;
      break;
    case 7:
      status = qwen_logits(handle, ids, 1, 1, values, 2, &written);
      *clean = written == 0;
      break;
    case 8:
      status = qwen_score(handle, ids, 2, values, 2, &written);
      *clean = written == 0;
      break;
  }
  return status;
}

static void check_bad_handle(const char* kind, void* handle) {
  int index, clean, refused = 1, cleared = 1;
  for (index = 0; index < MODEL_CALLS; index++) {
    qwen_status status = call_model(index, (qwen_model)handle, &clean);
    if (status != QWEN_ERROR_HANDLE)
      check(refused = 0, "%s: %s handle gives %s", model_names[index], kind,
            qwen_status_name(status));
    if (!clean) check(cleared = 0, "%s: %s handle leaves an output set", model_names[index], kind);
  }
  for (index = 0; index < SESSION_CALLS; index++) {
    qwen_status status = call_session(index, (qwen_session)handle, &clean);
    if (status != QWEN_ERROR_HANDLE)
      check(refused = 0, "%s: %s handle gives %s", session_names[index], kind,
            qwen_status_name(status));
    if (!clean)
      check(cleared = 0, "%s: %s handle leaves an output set", session_names[index], kind);
  }
  qwen_model_close((qwen_model)handle);
  qwen_session_close((qwen_session)handle);
  if (refused && cleared)
    check(1, "every function refuses a %s handle and clears its outputs", kind);
}

static void check_garbage(void) {
  unsigned long long state = 88172645463325252ULL;
  int index, round, clean, wrong = 0, local = 0;
  check_bad_handle("NULL", NULL);
  check_bad_handle("stack", &local);
  check_bad_handle("all-ones", (void*)~(uintptr_t)0);
  for (round = 0; round < 20000; round++) {
    void* handle;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    /* Small numbers are the likelier collisions with table indices. */
    handle = (void*)(uintptr_t)(round % 2 ? state : state >> (state % 64));
    index = round % (MODEL_CALLS + SESSION_CALLS);
    if (index < MODEL_CALLS)
      wrong += call_model(index, (qwen_model)handle, &clean) != QWEN_ERROR_HANDLE;
    else
      wrong += call_session(index - MODEL_CALLS, (qwen_session)handle, &clean) != QWEN_ERROR_HANDLE;
  }
  check(wrong == 0, "20000 random handles are refused (%d were not)", wrong);
}

static void check_library(void) {
  static const char* const topics[] = {"build", "cpu", "formats", "models", "options", "errors"};
  char* text = (char*)"x";
  int status, named = 1;
  size_t index;
  check(strlen(qwen_version()) >= 5, "the version is %s", qwen_version());
  check(qwen_abi_version() >= 1, "the interface has a version");
  for (status = QWEN_ERROR_INTERNAL; status <= QWEN_DONE; status++)
    if (strncmp(qwen_status_name(status), "QWEN_", 5) != 0 ||
        strcmp(qwen_status_name(status), "QWEN_UNKNOWN") == 0)
      named = 0;
  check(named, "every status has a name");
  check(strcmp(qwen_status_name(4711), "QWEN_UNKNOWN") == 0, "an unknown status has none");
  for (index = 0; index < sizeof topics / sizeof *topics; index++) {
    char* answer = NULL;
    json_t* value;
    qwen_status described = qwen_describe(topics[index], &answer);
    value = parse_answer(answer);
    check(described == QWEN_OK && value != NULL, "describe(\"%s\") gives JSON", topics[index]);
    json_decref(value);
  }
  check_status(qwen_describe("weather", &text), QWEN_ERROR_ARGUMENT, "an unknown topic is refused");
  check(text == NULL, "and its output is NULL");
  check(strlen(qwen_last_error()) > 0, "and a sentence says why");
  check_status(qwen_describe(NULL, &text), QWEN_ERROR_ARGUMENT, "a NULL topic is refused");
  check_status(qwen_describe("build", NULL), QWEN_ERROR_ARGUMENT, "a NULL output is refused");
  qwen_string_free(NULL);
}

/* Opens that must fail at once, with NULL in the output. */
static void check_open(const char* directory) {
  char fifo[4096];
  struct {
    const char *name, *path;
  } bad[] = {
      {"a missing file", "/nonexistent/model.gguf"},
      {"an empty path", ""},
      {"a device", "/dev/zero"},
      {"a directory without a model", "/proc"},
      {"a pipe", NULL},
  };
  size_t index;
  qwen_model model;
  snprintf(fifo, sizeof fifo, "%s/pipe.gguf", directory);
  bad[4].path = fifo;
  if (mkfifo(fifo, 0600) != 0 && errno != EEXIST) bad[4].path = "/nonexistent";
  for (index = 0; index < sizeof bad / sizeof *bad; index++) {
    double start = now_ms();
    qwen_status status;
    model = (qwen_model)(void*)fifo;
    status = qwen_model_open(&model, bad[index].path, NULL, NULL, NULL);
    check(status < 0 && model == NULL && now_ms() - start < 1000, "opening %s gives %s at once",
          bad[index].name, qwen_status_name(status));
  }
  unlink(fifo);
  check_status(qwen_model_open(&model, NULL, NULL, NULL, NULL), QWEN_ERROR_ARGUMENT,
               "a NULL path is refused");
  check_status(qwen_model_open(NULL, "/proc", NULL, NULL, NULL), QWEN_ERROR_ARGUMENT,
               "a NULL out is refused");
}

int main(int argc, char** argv) {
  (void)argc;
  check_library();
  check_garbage();
  check_open(argv[1]);
  return contract_failures != 0;
}
