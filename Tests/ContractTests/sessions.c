/* Sessions beyond a chat: undo, fork, rewind, saved states, guesses ahead, the low level, samplers, logs. */
#include <math.h>
#include <sys/stat.h>

#include "contract.h"

static const char* const first_turn =
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Name three colours and say what they remind "
    "you of.\"}],\"max_new_tokens\":40}";
static const char* const other_turn =
    "{\"query\":\"Write a list of the numbers from one to ten.\",\"max_new_tokens\":40}";

static json_t* run(qwen_session session, const char* request, const char* more) {
  char* out = NULL;
  json_t *value = json_loads(request, 0, NULL), *extra = json_loads(more, 0, NULL);
  char* text;
  json_object_update(value, extra);
  text = json_dumps(value, 0);
  if (qwen_chat(session, text, NULL, NULL, &out) != QWEN_OK) out = NULL;
  free(text);
  json_decref(value);
  json_decref(extra);
  return parse_answer(out);
}

static size_t tokens_of(qwen_session session, int32_t* ids, size_t capacity) {
  size_t count = 0;
  qwen_session_tokens(session, ids, capacity, &count);
  return count;
}

static int32_t give_up(const qwen_event* event, void* user) {
  int* pieces = user;
  if (event->kind == QWEN_EVENT_TEXT && ++*pieces == 4) return QWEN_CANCEL;
  return QWEN_CONTINUE;
}

/* CANCEL puts everything back, also what the cancelled prompt did not share. */
static void check_undo(qwen_model model) {
  static int32_t before[4096], after[4096];
  qwen_session session = open_session(model, NULL);
  json_t* result = run(session, first_turn, "{}");
  size_t count = tokens_of(session, before, 4096), left;
  char* out = NULL;
  int pieces = 0;
  qwen_status status = qwen_chat(session, other_turn, give_up, &pieces, &out);
  check_status(status, QWEN_ERROR_CANCELLED, "a turn is cancelled by its callback");
  left = tokens_of(session, after, 4096);
  check(count > 0 && left == count && memcmp(before, after, count * sizeof *before) == 0,
        "the session is as before (%zu tokens)", left);
  json_decref(result);
  result = run(session, first_turn, "{}");
  check(integer_at(result, "usage", "evaluated_tokens") == 1,
        "the conversation before it is still cached");
  json_decref(result);
  qwen_session_close(session);
}

/* A fork and its origin go on as if each were alone. */
static void check_fork(qwen_model model) {
  qwen_session session = open_session(model, NULL), fork = NULL, alone;
  int32_t ids[8];
  size_t count = 0;
  json_t *a, *b, *c, *d;
  json_decref(run(session, first_turn, "{}"));
  check_status(qwen_session_fork(&fork, session), QWEN_OK, "a session forks");
  check(tokens_of(fork, NULL, 0) == tokens_of(session, NULL, 0), "the fork holds the same tokens");
  a = run(session, first_turn, "{\"max_new_tokens\":60}");
  b = run(fork, other_turn, "{}");
  c = run(fork, first_turn, "{\"max_new_tokens\":60}");
  alone = open_session(model, NULL);
  d = run(alone, first_turn, "{\"max_new_tokens\":60}");
  check(strlen(text_at(d, "text", NULL)) > 0 &&
            strcmp(text_at(a, "text", NULL), text_at(d, "text", NULL)) == 0 &&
            strcmp(text_at(c, "text", NULL), text_at(d, "text", NULL)) == 0,
        "origin and fork answer as a session of its own");
  json_decref(a), json_decref(b), json_decref(c), json_decref(d);

  qwen_session_close(session);
  check_status(qwen_session_rewind(fork, 5), QWEN_OK, "the fork outlives its origin and rewinds");
  check_status(qwen_session_rewind(fork, 6), QWEN_ERROR_ARGUMENT, "not beyond its end");
  check_status(qwen_session_tokens(fork, ids, 4, &count), QWEN_ERROR_BUFFER, "4 places for 5 ids");
  check(count == 5, "the needed size is told");
  check_status(qwen_session_tokens(fork, ids, 8, &count), QWEN_OK, "8 places for 5 ids");
  qwen_session_close(fork);
  qwen_session_close(alone);
}

static char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  char* bytes;
  if (file == NULL) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  bytes = malloc(*size + 1);
  *size = fread(bytes, 1, *size, file);
  fclose(file);
  return bytes;
}

static void check_states(qwen_model model, const char* folder) {
  qwen_session session = open_session(model, NULL), restored = open_session(model, NULL), other;
  char path[4096], *bytes = NULL, *file;
  size_t size = 0, file_size = 0, written = 0, index, refused = 0, tried = 0;
  int32_t ids[4096], again[4096];
  size_t count;
  json_t *a = run(session, first_turn, "{}"), *b;
  snprintf(path, sizeof path, "%s/state", folder);
  count = tokens_of(session, ids, 4096);
  check_status(qwen_session_save(session, path), QWEN_OK, "a session is saved");
  check_status(qwen_session_load(restored, path), QWEN_OK, "and loaded");
  check(tokens_of(restored, again, 4096) == count &&
            memcmp(ids, again, count * sizeof *ids) == 0,
        "with the same tokens");
  json_decref(a);
  a = run(session, first_turn, "{\"max_new_tokens\":60}");
  b = run(restored, first_turn, "{\"max_new_tokens\":60}");
  check(integer_at(b, "usage", "evaluated_tokens") == 1 &&
            strcmp(text_at(a, "text", NULL), text_at(b, "text", NULL)) == 0,
        "it goes on alike and reads nothing again");
  json_decref(a), json_decref(b);
  qwen_session_load(session, path);
  check_status(qwen_session_save_buffer(session, NULL, 0, &size), QWEN_OK, "the size is told");
  file = read_file(path, &file_size);
  bytes = malloc(size);
  check_status(qwen_session_save_buffer(session, bytes, size - 1, &written), QWEN_ERROR_BUFFER,
               "a byte too few");
  check_status(qwen_session_save_buffer(session, bytes, size, &written), QWEN_OK, "to a buffer");
  check(size == file_size && written == size && memcmp(bytes, file, size) == 0,
        "buffer and file have the same %zu bytes", size);
  for (index = 0; index < size; index += 1 + index / 64) {
    bytes[index] ^= 0x21;
    tried++;
    refused += qwen_session_load_buffer(restored, bytes, size) < 0;
    bytes[index] ^= 0x21;
    tried++;
    refused += qwen_session_load_buffer(restored, bytes, index) < 0;
  }
  check(refused == tried, "%zu of %zu damaged or cut states are refused", refused, tried);
  check_status(qwen_session_load_buffer(restored, bytes, size), QWEN_OK, "the whole one is not");
  other = open_session(model, "{\"kv_cache\":\"f32\"}");
  check_status(qwen_session_load(other, path), QWEN_ERROR_UNSUPPORTED,
               "another kv_cache is refused");
  check(strstr(qwen_last_error(), "kv_cache") != NULL, "by name: %s", qwen_last_error());
  qwen_session_close(other);
  other = open_session(model, "{\"context\":16}");
  check_status(qwen_session_load(other, path), QWEN_ERROR_CONTEXT, "too small a context");
  qwen_session_close(other);
  check_status(qwen_session_load(restored, "/nonexistent/state"), QWEN_ERROR_IO, "no such file");
  check_status(qwen_session_save(restored, "/nonexistent/state"), QWEN_ERROR_IO, "no such folder");
  free(file);
  free(bytes);
  qwen_session_close(session);
  qwen_session_close(restored);
}

/* With guesses ahead the answer has the same bytes, greedy and sampled. */
static void check_guesses(qwen_model model) {
  static const char* const prompts[] = {
      "Repeat after me: one two three four five, one two three four five, one two three",
      "def add(a, b):\n    return a + b\n\ndef subtract(a, b):\n    return a - b\n\ndef multiply(",
      "The capital of France is"};
  static const char* const ways[] = {
      "\"lookup\"", "{\"lookup\":{\"n\":1,\"max\":3}}", "\"draft\"", "{\"draft\":{\"max\":6}}"};
  qwen_session session = open_session(model, NULL);
  size_t prompt, way, sampled;
  long long accepted = 0, drafted = 0;
  int same = 1, positions = 1;
  check_status(qwen_session_set_draft(session, model), QWEN_OK, "a draft model is taken");
  for (prompt = 0; prompt < sizeof prompts / sizeof *prompts; prompt++)
    for (sampled = 0; sampled < 2; sampled++) {
      const char* how = sampled ? "\"temperature\":0.9,\"top_p\":0.9,\"seed\":7,"
                                  "\"frequency_penalty\":0.2,"
                                : "\"repetition_penalty\":1.02,";
      char options[512], *out = NULL, *plain;
      size_t length;
      json_t* result;
      snprintf(options, sizeof options, "{%s\"max_new_tokens\":48}", how);
      qwen_session_reset(session);
      qwen_generate(session, prompts[prompt], QWEN_NUL, options, NULL, NULL, &out);
      result = parse_answer(out);
      plain = json_dumps(json_object_get(result, "ids"), 0);
      length = tokens_of(session, NULL, 0);
      json_decref(result);
      for (way = 0; way < sizeof ways / sizeof *ways; way++) {
        char* ids;
        snprintf(options, sizeof options, "{%s\"max_new_tokens\":48,\"speculative\":%s}", how,
                 ways[way]);
        qwen_session_reset(session);
        out = NULL;
        qwen_generate(session, prompts[prompt], QWEN_NUL, options, NULL, NULL, &out);
        result = parse_answer(out);
        ids = json_dumps(json_object_get(result, "ids"), 0);
        same &= plain != NULL && ids != NULL && strcmp(plain, ids) == 0;
        positions &= tokens_of(session, NULL, 0) == length;
        drafted += integer_at(result, "speculation", "drafted");
        accepted += integer_at(result, "speculation", "accepted");
        free(ids);
        json_decref(result);
      }
      free(plain);
    }
  check(same, "guessing ahead changes no token");
  check(positions, "and leaves the session as it would be without");
  check(accepted > 0 && accepted <= drafted, "%lld of %lld guesses were right", accepted, drafted);
  qwen_session_set_draft(session, NULL);
  {
    char* out = NULL;
    check_status(qwen_generate(session, "a", 1, "{\"speculative\":\"draft\"}", NULL, NULL, &out),
                 QWEN_ERROR_OPTION, "a draft that is not there is an error");
    check_status(
        qwen_generate(session, "a", 1, "{\"speculative\":{\"lookup\":{\"m\":1}}}", NULL, NULL, &out),
        QWEN_ERROR_OPTION, "and so is an unknown key in it");
  }
  qwen_session_close(session);
}

/* Feed, logits, sampler: a loop of the host's own gives what qwen_generate gives. */
static void check_low_level(qwen_model model) {
  qwen_session session = open_session(model, NULL), whole = open_session(model, NULL);
  qwen_sampler greedy = NULL, dice = NULL, same_dice = NULL;
  int32_t history[256], id = -1, token_ids[4], drawn[2][16];
  float *logits, *rows, probabilities[4];
  size_t count = 0, vocab = 0, step, written = 0;
  char* out = NULL;
  json_t *result, *ids;
  int same = 1;
  qwen_generate(whole, "Once upon a time", QWEN_NUL, "{\"max_new_tokens\":12}", NULL, NULL, &out);
  result = parse_answer(out);
  ids = json_object_get(result, "ids");
  qwen_tokenize(model, "Once upon a time", QWEN_NUL, NULL, history, 256, &count);
  check_status(qwen_session_logits(session, -1, NULL, 0, &vocab), QWEN_OK, "the size of a row is told");
  logits = malloc(vocab * sizeof *logits);
  rows = malloc(vocab * count * sizeof *rows);
  check_status(qwen_session_logits(session, -1, logits, vocab, &vocab), QWEN_ERROR_ARGUMENT,
               "no logits before anything is fed");
  check_status(qwen_sampler_open(&greedy, model, "{\"do_sample\":false}"), QWEN_OK,
               "a greedy sampler");
  check_status(qwen_session_feed(session, history, count), QWEN_OK, "a prompt is fed");
  qwen_logits(whole, history, count, 0, rows, vocab * count, &written);
  for (step = 0; step < count; step++) {
    qwen_session_logits(session, (int64_t)step, logits, vocab, &vocab);
    same &= memcmp(logits, rows + step * vocab, vocab * sizeof *logits) == 0;
  }
  check(same, "its logits are those of qwen_logits");
  check_status(qwen_session_logits(session, (int64_t)count, logits, vocab, &vocab),
               QWEN_ERROR_ARGUMENT, "no row behind the last");
  for (step = 0, same = 1; step < json_array_size(ids); step++) {
    qwen_session_logits(session, -1, logits, vocab, &vocab);
    qwen_sampler_sample(greedy, history, count, logits, vocab, &id);
    same &= id == (int32_t)json_integer_value(json_array_get(ids, step));
    history[count++] = id;
    qwen_session_feed(session, &id, 1);
  }
  check(same && step == 12, "a loop of the host's own says what qwen_generate says");

  qwen_sampler_open(&dice, NULL, "{\"temperature\":0.7,\"top_k\":4,\"seed\":11}");
  qwen_sampler_open(&same_dice, NULL, "{\"temperature\":0.7,\"top_k\":4,\"seed\":11}");
  check_status(qwen_sampler_distribution(dice, NULL, 0, logits, vocab, token_ids, probabilities, 4,
                                         &count),
               QWEN_OK, "a distribution");
  check(count == 4 && probabilities[0] >= probabilities[3] && probabilities[3] > 0 &&
            fabsf(probabilities[0] + probabilities[1] + probabilities[2] + probabilities[3] - 1) <
                1e-5f,
        "of four tokens that sum to 1");
  for (step = 0; step < 16; step++) {
    qwen_sampler_sample(dice, NULL, 0, logits, vocab, &drawn[0][step]);
    qwen_sampler_sample(same_dice, NULL, 0, logits, vocab, &drawn[1][step]);
  }
  check(memcmp(drawn[0], drawn[1], sizeof drawn[0]) == 0, "one seed draws one sequence");
  check_status(qwen_sampler_open(&greedy, NULL, "{\"temprature\":1}"), QWEN_ERROR_OPTION,
               "an unknown option of a sampler");
  qwen_sampler_close(greedy), qwen_sampler_close(dice), qwen_sampler_close(same_dice);
  check_status(qwen_sampler_sample(dice, NULL, 0, logits, vocab, &id), QWEN_ERROR_HANDLE,
               "a closed sampler is refused");
  free(logits);
  free(rows);
  json_decref(result);
  qwen_session_close(session);
  qwen_session_close(whole);
}

static void check_embeddings(qwen_model model) {
  qwen_session session = open_session(model, NULL);
  qwen_session small = open_session(model, "{\"prefill_chunk\":2}");
  float a[8192], b[8192];
  size_t count = 0, index;
  double length = 0;
  const char* text = "The quick brown fox jumps over the lazy dog.";
  check_status(qwen_embed(session, text, QWEN_NUL, NULL, a, 8192, &count), QWEN_OK, "a text's vector");
  for (index = 0; index < count; index++) length += (double)a[index] * a[index];
  check(count > 0 && fabs(length - 1) < 1e-5, "%zu numbers of length 1", count);
  qwen_embed(small, text, QWEN_NUL, NULL, b, 8192, &count);
  check(memcmp(a, b, count * sizeof *a) == 0, "the same bits however it is read");
  check_status(qwen_embed(small, text, QWEN_NUL, "{\"pooling\":\"last\",\"normalize\":false}", b,
                          8192, &count),
               QWEN_OK, "the last token's state");
  check(memcmp(a, b, count * sizeof *a) != 0, "is another one");
  check_status(qwen_embed(small, "", 0, NULL, b, 8192, &count), QWEN_ERROR_ARGUMENT, "no text");
  qwen_session_close(session);
  qwen_session_close(small);
}

/* What a result says about itself makes the same answer again. */
static void check_replay(qwen_model model) {
  qwen_session session = open_session(model, NULL);
  json_t *result = run(session, first_turn, "{\"temperature\":1.1,\"top_k\":50}"), *again;
  char *request = json_dumps(json_object_get(json_object_get(result, "replay"), "request"), 0);
  char* out = NULL;
  qwen_session_reset(session);
  check(request != NULL && strstr(request, "\"seed\"") != NULL, "a result tells its seed");
  check_status(qwen_chat(session, request, NULL, NULL, &out), QWEN_OK, "its request is sent again");
  again = parse_answer(out);
  check(strcmp(text_at(result, "text", NULL), text_at(again, "text", NULL)) == 0,
        "and answered with the same text");
  check(strlen(text_at(json_object_get(result, "replay"), "model", NULL)) == 32,
        "the model has a fingerprint");
  free(request);
  json_decref(result);
  json_decref(again);
  qwen_session_close(session);
}

static void note(int32_t level, const char* message, void* user) {
  int* lines = user;
  if (level >= QWEN_LOG_ERROR && level <= QWEN_LOG_DEBUG && strlen(message) > 0) ++*lines;
}

static void check_log(qwen_model model) {
  int lines = 0, before;
  char* out = NULL;
  json_t* metrics;
  qwen_session session;
  qwen_set_log(note, &lines, QWEN_LOG_DEBUG);
  session = open_session(model, NULL);
  json_decref(run(session, first_turn, "{\"max_new_tokens\":2}"));
  check(lines == 2, "opening and a run are two lines of a log: %d", lines);
  qwen_set_log(note, &lines, QWEN_LOG_WARNING);
  qwen_session_rewind(session, 99999);
  check(lines == 3, "a failed call is one of warnings");
  qwen_set_log(NULL, NULL, 0);
  before = lines;
  qwen_session_close(session);
  check(lines == before, "and then it is silent");
  qwen_describe("metrics", &out);
  metrics = parse_answer(out);
  check(integer_at(metrics, "runs", NULL) > 0 && integer_at(metrics, "open", "sessions") == 0,
        "metrics count runs and open sessions");
  json_decref(metrics);
}

static void check_token_text(qwen_model model) {
  char bytes[64];
  size_t length = 0;
  int32_t id = -1;
  qwen_token_id(model, "<|im_start|>", QWEN_NUL, &id);
  check_status(qwen_token_text(model, id, bytes, sizeof bytes, &length), QWEN_OK, "a token's text");
  check(length == 12 && strcmp(bytes, "<|im_start|>") == 0, "is %s", bytes);
  check_status(qwen_token_text(model, -1, bytes, sizeof bytes, &length), QWEN_ERROR_ARGUMENT,
               "no token has a negative id");
}

int main(int argc, char** argv) {
  qwen_model model;
  if (argc < 3) return 2;
  model = open_model(argv[1], NULL);
  check_undo(model);
  check_fork(model);
  check_states(model, argv[2]);
  check_guesses(model);
  check_low_level(model);
  check_embeddings(model);
  check_replay(model);
  check_log(model);
  check_token_text(model);
  qwen_model_close(model);
  return contract_failures != 0;
}
