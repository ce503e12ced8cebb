/* Whole chats: by callback, by pull, from other threads, on a small stack, after fork. */
#include <sys/wait.h>

#include "contract.h"

static const char* const request =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Name three colours.\"}],"
    "\"max_new_tokens\":24,\"temperature\":0.8,\"seed\":42,\"do_sample\":true}";

typedef struct {
  char text[16384];
  size_t length;
  int done, answer; /* what the callback returns */
  int stop_after;   /* pieces before it returns `answer`; 0 = never */
  int pieces;
  pthread_t thread;
  int on_foreign_thread;
  qwen_session reenter;
  qwen_status reentered;
} Reply;

static int32_t collect(const qwen_event* event, void* user) {
  Reply* reply = user;
  if (!pthread_equal(pthread_self(), reply->thread)) reply->on_foreign_thread = 1;
  if (event->kind == QWEN_EVENT_DONE) reply->done++;
  if (event->kind != QWEN_EVENT_TEXT) return QWEN_CONTINUE;
  if (reply->length + event->length < sizeof reply->text) {
    memcpy(reply->text + reply->length, event->text, event->length);
    reply->length += event->length;
    reply->text[reply->length] = 0;
  }
  if (reply->reenter != NULL) reply->reentered = qwen_session_reset(reply->reenter);
  reply->pieces++;
  return reply->stop_after != 0 && reply->pieces >= reply->stop_after ? reply->answer
                                                                      : QWEN_CONTINUE;
}

static Reply* new_reply(void) {
  Reply* reply = calloc(1, sizeof *reply);
  reply->thread = pthread_self();
  return reply;
}

static json_t* chat(qwen_session session, Reply* reply) {
  char* out = NULL;
  if (qwen_chat(session, request, reply != NULL ? collect : NULL, reply, &out) != QWEN_OK)
    return NULL;
  return parse_answer(out);
}

static long long position(qwen_session session) {
  char* out = NULL;
  json_t* info;
  long long value;
  qwen_session_info(session, &out);
  info = parse_answer(out);
  value = integer_at(info, "position", NULL);
  json_decref(info);
  return value;
}

/* The same request by result, callback and pull gives the same bytes; returns them. */
static char* check_ways(qwen_model model) {
  qwen_session session = open_session(model, NULL);
  Reply *reply = new_reply(), *pulled = new_reply();
  const qwen_event* event = NULL;
  json_t *result = chat(session, reply), *last = NULL;
  char* text = strdup(text_at(result, "text", NULL));
  qwen_status status;
  size_t count = 0;
  check(result != NULL && strlen(text) > 0, "a chat answers: %.60s", text);
  check(strcmp(text, reply->text) == 0, "the callback's pieces are the result's text");
  check(reply->done == 1 && !reply->on_foreign_thread,
        "it ends with one DONE, all on the caller's thread");
  check(strcmp(text_at(result, "message", "content"), text) == 0, "message has the text");
  check(json_array_size(json_object_get(result, "history")) == 1, "history has the turn");
  check(integer_at(result, "seed", NULL) == 42, "the result tells the seed");
  qwen_render(model, request, NULL, 0, &count, NULL);
  check(integer_at(result, "usage", "prompt_tokens") == (long long)count,
        "qwen_render counts the prompt: %zu", count);

  qwen_session_reset(session);
  check_status(qwen_begin(session, request), QWEN_OK, "the same by pull begins");
  check_status(qwen_begin(session, request), QWEN_ERROR_BUSY, "and is busy until it is over");
  while ((status = qwen_next(session, 1000, &event)) == QWEN_OK || status == QWEN_PENDING) {
    if (status == QWEN_PENDING) continue;
    if (event->kind == QWEN_EVENT_DONE) last = json_loads(event->text, 0, NULL);
    pulled->thread = pthread_self();
    collect(event, pulled);
  }
  check_status(status, QWEN_DONE, "it ends with QWEN_DONE");
  check(strcmp(pulled->text, text) == 0, "the same bytes by pull");
  check(last != NULL && strcmp(text_at(last, "text", NULL), text) == 0, "and in the DONE event");
  json_decref(last);
  json_decref(result);

  result = chat(session, NULL);
  check(strcmp(text_at(result, "text", NULL), text) == 0,
        "the same bytes again with the prompt cached");
  check(integer_at(result, "usage", "cached_tokens") > 0, "and the cache was used");
  json_decref(result);
  free(reply);
  free(pulled);
  qwen_session_close(session);
  return text;
}

/* STOP keeps, CANCEL undoes, re-entry is refused. */
static void check_answers(qwen_model model) {
  qwen_session session = open_session(model, NULL);
  Reply* reply = new_reply();
  char* out = NULL;
  json_t* result;
  qwen_status status;
  long long before = position(session);
  reply->reenter = session;
  reply->stop_after = 3;
  reply->answer = QWEN_CANCEL;
  status = qwen_chat(session, request, collect, reply, &out);
  check(status == QWEN_ERROR_CANCELLED || status == QWEN_OK, "CANCEL ends the run: %s",
        qwen_status_name(status));
  check_status(reply->reentered, QWEN_ERROR_BUSY,
               "the session refuses a call from its own callback");
  check(position(session) == before, "CANCEL leaves the session as it was (%lld)",
        position(session));
  qwen_string_free(out);
  memset(reply, 0, sizeof *reply);
  reply->thread = pthread_self();
  reply->stop_after = 3;
  reply->answer = QWEN_STOP;
  result = chat(session, reply);
  check(reply->pieces == 3 && strcmp(text_at(result, "text", NULL), reply->text) == 0,
        "STOP keeps what was said");
  json_decref(result);
  free(reply);
  qwen_session_close(session);
}

static void check_deadline(qwen_model model) {
  qwen_session session = open_session(model, NULL);
  double start = now_ms(), taken;
  char* out = NULL;
  qwen_status status = qwen_generate(
      session, "Once upon a time", QWEN_NUL,
      "{\"deadline_ms\":200,\"max_new_tokens\":1800,\"min_new_tokens\":1800}", NULL, NULL, &out);
  json_t* result = parse_answer(out);
  taken = now_ms() - start;
  check(status == QWEN_ERROR_DEADLINE ||
            strcmp(text_at(result, "finish_reason", NULL), "deadline") == 0,
        "a deadline of 200 ms ends the run after %.0f ms", taken);
  check(taken < 400, "in time");
  json_decref(result);
  qwen_session_close(session);
}

/* ---- Threads
 * ------------------------------------------------------------------------------------- */

typedef struct {
  const char* path;
  qwen_model model;
  char* text;
} Work;

static void* whole_life(void* user) {
  Work* work = user;
  qwen_model model = open_model(work->path, NULL);
  qwen_session session = open_session(model, NULL);
  Reply* reply = new_reply();
  json_t* result = chat(session, reply);
  work->text = strdup(text_at(result, "text", NULL));
  check(!reply->on_foreign_thread, "callbacks come on the thread that called");
  json_decref(result);
  free(reply);
  qwen_session_close(session);
  qwen_model_close(model);
  return NULL;
}

static void* one_chat(void* user) {
  Work* work = user;
  qwen_session session = open_session(work->model, NULL);
  json_t* result = chat(session, NULL);
  work->text = strdup(text_at(result, "text", NULL));
  json_decref(result);
  qwen_session_close(session);
  return NULL;
}

static void check_threads(qwen_model model, const char* path, const char* expected) {
  pthread_attr_t small;
  pthread_t threads[4];
  Work works[4];
  int index, same = 1;
  memset(works, 0, sizeof works);
  works[0].path = path;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 << 10);
  pthread_create(&threads[0], &small, whole_life, &works[0]);
  pthread_join(threads[0], NULL);
  check(works[0].text != NULL && strcmp(works[0].text, expected) == 0,
        "open to close on a stack of 128 KiB");
  free(works[0].text);
  for (index = 0; index < 4; index++) {
    works[index].model = model;
    pthread_create(&threads[index], NULL, one_chat, &works[index]);
  }
  for (index = 0; index < 4; index++) {
    pthread_join(threads[index], NULL);
    same &= works[index].text != NULL && strcmp(works[index].text, expected) == 0;
    free(works[index].text);
  }
  check(same, "four sessions of one model in four threads give the same bytes");
}

/* ---- fork
 * ---------------------------------------------------------------------------------------- */

static void check_fork(qwen_model model, const char* expected) {
  qwen_session session = open_session(model, NULL);
  json_t* result = chat(session, NULL);
  pid_t child;
  int code = -1;
  json_decref(result);
  fflush(NULL);
  child = fork();
  if (child == 0) {
    char* out = NULL;
    size_t count = 0;
    int wrong = 0;
    alarm(5); /* a deadlock ends the child */
    wrong |= (qwen_model_info(model, &out) != QWEN_ERROR_FORKED) << 0;
    wrong |= (qwen_tokenize(model, "a", 1, NULL, NULL, 0, &count) != QWEN_ERROR_FORKED) << 1;
    wrong |= (qwen_session_info(session, &out) != QWEN_ERROR_FORKED) << 2;
    wrong |= (qwen_session_reset(session) != QWEN_ERROR_FORKED) << 3;
    wrong |= (qwen_chat(session, request, NULL, NULL, &out) != QWEN_ERROR_FORKED) << 4;
    qwen_session_close(session);
    qwen_model_close(model);
    _exit(wrong);
  }
  waitpid(child, &code, 0);
  check(WIFEXITED(code) && WEXITSTATUS(code) == 0,
        "after fork the child's calls answer QWEN_ERROR_FORKED (%x)", (unsigned)code);
  result = chat(session, NULL);
  check(strcmp(text_at(result, "text", NULL), expected) == 0, "and the parent goes on");
  json_decref(result);
  qwen_session_close(session);
}

int main(int argc, char** argv) {
  qwen_model model;
  char* text;
  if (argc < 2) return 2;
  model = open_model(argv[1], NULL);
  text = check_ways(model);
  check_answers(model);
  check_deadline(model);
  check_threads(model, argv[1], text);
  check_fork(model, text);
  qwen_model_close(model);
  free(text);
  return contract_failures != 0;
}
