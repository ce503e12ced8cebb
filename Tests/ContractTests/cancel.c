/* Cancelling from another thread and from a signal handler: how long until the run is over. */
#include <signal.h>
#include <sys/time.h>

#include "contract.h"

enum { ROUNDS = 30, PROMPT = 1800 };

typedef struct {
  qwen_session session;
  const char* options;
  volatile int started; /* 1 once the run has reached what is to be cancelled */
  int wanted;           /* event kind that means so */
  double ended;
  qwen_status status;
  char reason[32];
} Run;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;

static int32_t note(const qwen_event* event, void* user) {
  Run* run = user;
  if (event->kind == run->wanted && !run->started) {
    pthread_mutex_lock(&lock);
    run->started = 1;
    pthread_cond_signal(&begun);
    pthread_mutex_unlock(&lock);
  }
  return QWEN_CONTINUE;
}

static void* generate(void* user) {
  Run* run = user;
  char* out = NULL;
  json_t* result;
  run->status = qwen_generate(run->session, "", 0, run->options, note, run, &out);
  run->ended = now_ms();
  result = parse_answer(out);
  snprintf(run->reason, sizeof run->reason, "%s", text_at(result, "finish_reason", NULL));
  json_decref(result);
  /* A run that ended by itself must not leave the other side waiting. */
  pthread_mutex_lock(&lock);
  run->started = 1;
  pthread_cond_signal(&begun);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static int ascending(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static char* make_options(int prompt, int answer) {
  json_t *options = json_object(), *ids = json_array();
  char* text;
  int index;
  for (index = 0; index < prompt; index++)
    json_array_append_new(ids, json_integer(300 + index % 977));
  json_object_set_new(options, "prompt_ids", ids);
  json_object_set_new(options, "max_new_tokens", json_integer(answer));
  json_object_set_new(options, "min_new_tokens", json_integer(answer));
  json_object_set_new(options, "do_sample", json_false());
  text = json_dumps(options, 0);
  json_decref(options);
  return text;
}

static void measure(qwen_session session, const char* phase, int wanted, const char* options,
                    double limit) {
  double taken[ROUNDS];
  int round, cancelled = 0;
  for (round = 0; round < ROUNDS; round++) {
    Run run;
    pthread_t thread;
    double start;
    memset(&run, 0, sizeof run);
    run.session = session, run.options = options, run.wanted = wanted;
    qwen_session_reset(session);
    pthread_create(&thread, NULL, generate, &run);
    pthread_mutex_lock(&lock);
    while (!run.started) pthread_cond_wait(&begun, &lock);
    pthread_mutex_unlock(&lock);
    /* Different moments within the work. */
    usleep((useconds_t)(round * 700));
    start = now_ms();
    qwen_session_cancel(session);
    pthread_join(thread, NULL);
    taken[round] = run.ended - start;
    cancelled += run.status == QWEN_ERROR_CANCELLED || strcmp(run.reason, "cancelled") == 0;
  }
  qsort(taken, ROUNDS, sizeof *taken, ascending);
  check(cancelled == ROUNDS, "%s: %d of %d runs are cancelled", phase, cancelled, ROUNDS);
  check(taken[ROUNDS * 99 / 100] <= limit, "%s: over after p50 %.1f ms, p99 %.1f ms (limit %.0f)",
        phase, taken[ROUNDS / 2], taken[ROUNDS * 99 / 100], limit);
}

static qwen_session alarmed;
static void on_alarm(int number) {
  (void)number;
  qwen_session_cancel(alarmed);
}

static void check_signal(qwen_session session, const char* options) {
  struct itimerval timer;
  struct sigaction action;
  Run run;
  memset(&timer, 0, sizeof timer);
  memset(&action, 0, sizeof action);
  memset(&run, 0, sizeof run);
  run.session = alarmed = session, run.options = options;
  qwen_session_reset(session);
  action.sa_handler = on_alarm;
  sigaction(SIGALRM, &action, NULL);
  timer.it_value.tv_usec = 150000;
  setitimer(ITIMER_REAL, &timer, NULL);
  generate(&run);
  check(run.status == QWEN_ERROR_CANCELLED || strcmp(run.reason, "cancelled") == 0,
        "a signal handler may cancel: %s %s", qwen_status_name(run.status), run.reason);
}

int main(int argc, char** argv) {
  const char* given = getenv("QWEN_CANCEL_LIMIT_MS");
  double limit = given != NULL ? atof(given) : 50;
  char *reading = make_options(PROMPT, 1), *saying = make_options(8, PROMPT);
  qwen_model model;
  qwen_session session;
  if (argc < 2) return 2;
  model = open_model(argv[1], NULL);
  session = open_session(model, "{\"context\":2048}");
  check_status(qwen_session_cancel(session), QWEN_OK, "a session without a run ignores cancel");
  measure(session, "decode", QWEN_EVENT_TEXT, saying, limit);
  measure(session, "prefill", QWEN_EVENT_PROGRESS, reading, limit);
  check_signal(session, saying);
  qwen_session_reset(session);
  check_status(qwen_generate(session, "Hello", 5, "{\"max_new_tokens\":4}", NULL, NULL, NULL),
               QWEN_OK, "the session works afterwards");
  qwen_session_close(session);
  qwen_model_close(model);
  free(reading);
  free(saying);
  return contract_failures != 0;
}
