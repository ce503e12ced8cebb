/* What the tests of a linked library share: statuses, opening, reading answers. */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <jansson.h>
#include <pthread.h>
#include <time.h>

#include "check.h"
#include "qwen.h"

static const char* contract_sentence(void) {
  return qwen_last_error();
}

/* Checks a status; on failure the line tells the one that came. */
static inline void check_status(qwen_status status, qwen_status expected, const char* name) {
  if (status == expected)
    check(1, "%s", name);
  else
    check(0, "%s: %s instead of %s", name, qwen_status_name(status), qwen_status_name(expected));
}

static inline double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

/* Opens the model or ends the test: nothing else can be checked without it. */
static inline qwen_model open_model(const char* path, const char* options) {
  qwen_model model = NULL;
  qwen_status status = qwen_model_open(&model, path, options, NULL, NULL);
  if (status != QWEN_OK) {
    check(0, "open %s", path);
    exit(1);
  }
  return model;
}

static inline qwen_session open_session(qwen_model model, const char* options) {
  qwen_session session = NULL;
  if (qwen_session_open(&session, model, options) != QWEN_OK) {
    check(0, "open a session");
    exit(1);
  }
  return session;
}

/* Parses a JSON text of the library and frees it. The caller owns the value. */
static inline json_t* parse_answer(char* text) {
  json_t* value = text != NULL ? json_loads(text, 0, NULL) : NULL;
  qwen_string_free(text);
  return value;
}

/* The string at a path of member names, "" if absent. Borrowed. */
static inline const char* text_at(json_t* value, const char* a, const char* b) {
  json_t* member = json_object_get(value, a);
  if (b != NULL) member = json_object_get(member, b);
  return json_is_string(member) ? json_string_value(member) : "";
}

static inline long long integer_at(json_t* value, const char* a, const char* b) {
  json_t* member = json_object_get(value, a);
  if (b != NULL) member = json_object_get(member, b);
  return json_is_integer(member) ? (long long)json_integer_value(member) : -1;
}

#endif
