/* Batches and shared prefixes: many answers at once, each as if it were alone. */
#include "contract.h"

enum { requests = 11 };

typedef struct {
  char* text[requests + 8];
  int64_t ids[requests + 8];
  int failed, done, stop_first;
} Collected;

static const char* const texts[requests] = {
    "Once upon a time",
    "The capital of France is",
    "A list of fruits: apple, banana,",
    "In the beginning",
    "def fibonacci(n):",
    "Water boils at",
    "My favourite colour is",
    "The three primary colours are",
    "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals, "
    "when it was checked by a violent gust of wind which swept up the streets, rattling along the "
    "house-tops, and fiercely agitating the scanty flame of the lamps that struggled against the "
    "darkness. The old man",
    "One, two, three,",
    "Dear Sir or Madam,"};

static char* request_of(int index, int as_batch) {
  char* text = malloc(2048);
  snprintf(text, 2048, "{%s%s%s\"max_new_tokens\":%d,\"temperature\":%s,\"seed\":%d}",
           as_batch ? "\"prompt\":\"" : "", as_batch ? texts[index] : "", as_batch ? "\"," : "",
           8 + 3 * index, index % 2 ? "0.8" : "0", index + 1);
  return text;
}

static int32_t collect(int64_t request, const qwen_event* event, void* user) {
  Collected* all = user;
  int index;
  for (index = 0; index < requests + 8 && all->ids[index] != request; index++) {
  }
  if (event->kind == QWEN_EVENT_ERROR) all->failed++;
  if (event->kind == QWEN_EVENT_DONE) {
    json_t* result = json_loads(event->text, 0, NULL);
    all->done++;
    if (index < requests + 8) all->text[index] = json_dumps(json_object_get(result, "ids"), 0);
    json_decref(result);
  }
  return index == 0 && event->kind == QWEN_EVENT_TEXT && all->stop_first ? QWEN_STOP
                                                                         : QWEN_CONTINUE;
}

static void check_equal(qwen_model model) {
  qwen_batch batch = NULL;
  Collected all;
  size_t remaining = 1;
  int index, same = 1, steps = 0;
  memset(&all, 0, sizeof all);
  check_status(qwen_batch_open(&batch, model, "{\"max_sequences\":4,\"prefill_chunk\":32}"), QWEN_OK,
               "a batch opens");
  for (index = 0; index < requests; index++) {
    char* request = request_of(index, 1);
    if (index == 6) /* some come later */
      for (steps = 0; steps < 5; steps++) qwen_batch_step(batch, collect, &all, &remaining);
    if (qwen_batch_submit(batch, request, &all.ids[index]) != QWEN_OK) same = 0;
    free(request);
  }
  check(same, "%d requests are taken", requests);
  while (remaining > 0 && steps++ < 1000)
    if (qwen_batch_step(batch, collect, &all, &remaining) != QWEN_OK) break;
  check(all.done == requests && all.failed == 0, "all are answered in %d steps", steps);
  for (index = 0; index < requests; index++) {
    qwen_session session = open_session(model, NULL);
    char *options = request_of(index, 0), *out = NULL, *ids;
    json_t* result;
    qwen_generate(session, texts[index], QWEN_NUL, options, NULL, NULL, &out);
    result = parse_answer(out);
    ids = json_dumps(json_object_get(result, "ids"), 0);
    if (ids == NULL || all.text[index] == NULL || strcmp(ids, all.text[index]) != 0) same = 0;
    free(ids);
    free(options);
    free(all.text[index]);
    json_decref(result);
    qwen_session_close(session);
  }
  check(same, "each as a session of its own answers it");
  qwen_batch_close(batch);
  check_status(qwen_batch_step(batch, NULL, NULL, &remaining), QWEN_ERROR_HANDLE,
               "a closed batch is refused");
}

static void check_ends(qwen_model model) {
  qwen_batch batch = NULL;
  Collected all;
  size_t remaining = 1;
  int index, steps = 0;
  int64_t none = 0;
  char* request = request_of(8, 1);
  memset(&all, 0, sizeof all);
  all.stop_first = 1;
  qwen_batch_open(&batch, model, "{\"max_sequences\":2,\"context\":128}");
  for (index = 0; index < 3; index++) qwen_batch_submit(batch, request, &all.ids[index]);
  check_status(qwen_batch_cancel(batch, all.ids[2]), QWEN_OK, "a waiting request is cancelled");
  check_status(qwen_batch_cancel(batch, 999), QWEN_ERROR_ARGUMENT, "one that is not there is not");
  check_status(qwen_batch_submit(batch, "{\"prompt\":\"a\",\"max_new_token\":1}", &none),
               QWEN_ERROR_OPTION, "a wrong request is refused when it comes");
  while (remaining > 0 && steps++ < 200) qwen_batch_step(batch, collect, &all, &remaining);
  check(all.done == 3 && remaining == 0, "stopped, finished and cancelled: three results");
  for (index = 0; index < 3; index++) free(all.text[index]);
  free(request);
  qwen_batch_close(batch);
}

/* A session begins where another of the same model left a prefix. */
static void check_prefixes(const char* path) {
  qwen_model model = open_model(path, "{\"prefix_cache\":64}");
  qwen_session one = open_session(model, NULL), two = open_session(model, NULL);
  char *text = malloc(8192), *out = NULL;
  json_t *a, *b;
  int index;
  size_t length = 0;
  for (index = 0; index < 30; index++)
    length += (size_t)sprintf(text + length, "Rule %d: answer in rhyme %d. ", index, index * index);
  qwen_generate(one, text, QWEN_NUL, "{\"max_new_tokens\":8}", NULL, NULL, &out);
  a = parse_answer(out);
  qwen_session_close(one);
  out = NULL;
  qwen_generate(two, text, QWEN_NUL, "{\"max_new_tokens\":8}", NULL, NULL, &out);
  b = parse_answer(out);
  check(integer_at(a, "usage", "cached_tokens") == 0 &&
            integer_at(b, "usage", "cached_tokens") >= integer_at(b, "usage", "prompt_tokens") - 64,
        "another session's prefix is not read again: %lld of %lld tokens",
        integer_at(b, "usage", "cached_tokens"), integer_at(b, "usage", "prompt_tokens"));
  check(strlen(text_at(a, "text", NULL)) > 0 &&
            strcmp(text_at(a, "text", NULL), text_at(b, "text", NULL)) == 0,
        "and answered alike");
  json_decref(a);
  json_decref(b);
  free(text);
  qwen_session_close(two);
  qwen_model_close(model);
}

int main(int argc, char** argv) {
  qwen_model model;
  if (argc < 2) return 2;
  model = open_model(argv[1], NULL);
  check_equal(model);
  check_ends(model);
  qwen_model_close(model);
  check_prefixes(argv[1]);
  return contract_failures != 0;
}
