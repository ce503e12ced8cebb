/* Tool calls: a call that the prompt begins is reported by events and by the result, and goes back in. */
#include "contract.h"

#define TOOL                                                                                     \
  "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"The weather.\"," \
  "\"parameters\":{\"type\":\"object\"}}}"

static const char* const requests[2] = {
    "{\"query\":\"Weather in Paris?\",\"max_new_tokens\":24,\"tools\":[" TOOL "],"
    "\"tool_choice\":{\"function\":{\"name\":\"get_weather\"}}}",
    "{\"query\":\"Weather in Paris?\",\"max_new_tokens\":24,\"tools\":[" TOOL "],"
    "\"tool_choice\":{\"function\":{\"name\":\"get_weather\"}},\"tool_format\":\"react\"}",
};

typedef struct {
  char arguments[8192];
  size_t length;
  char call[256];
  int calls, wrong_index, after_done;
} Heard;

static int32_t hear(const qwen_event* event, void* user) {
  Heard* heard = user;
  if (heard->after_done) heard->wrong_index++;
  if (event->kind == QWEN_EVENT_DONE) heard->after_done = 1;
  if (event->kind == QWEN_EVENT_TOOL_CALL) {
    heard->calls++;
    heard->wrong_index += event->call != 0;
    snprintf(heard->call, sizeof heard->call, "%s", event->text);
  } else if (event->kind == QWEN_EVENT_TOOL_ARGUMENTS) {
    heard->wrong_index += event->call != 0 || heard->calls == 0;
    if (heard->length + event->length < sizeof heard->arguments) {
      memcpy(heard->arguments + heard->length, event->text, event->length + 1);
      heard->length += event->length;
    }
  } else {
    heard->wrong_index += event->call != -1;
  }
  return QWEN_CONTINUE;
}

static void check_calls(qwen_model model, const char* request) {
  qwen_session session = open_session(model, NULL);
  Heard* heard = calloc(1, sizeof *heard);
  char *out = NULL, *again;
  json_t *result, *call, *begun, *next;
  size_t count = 0;
  check_status(qwen_chat(session, request, hear, heard, &out), QWEN_OK, "a chat with tools answers");
  result = parse_answer(out);
  call = json_array_get(json_object_get(result, "tool_calls"), 0);
  begun = json_loads(heard->call, 0, NULL);
  check(strcmp(text_at(call, "name", NULL), "get_weather") == 0, "it calls the named tool");
  check(heard->calls >= 1 && heard->wrong_index == 0, "events tell the call and its index");
  check(strcmp(text_at(begun, "id", NULL), text_at(call, "id", NULL)) == 0, "with the same id");
  check(strcmp(heard->arguments, text_at(call, "arguments_text", NULL)) == 0,
        "pieces of arguments are the whole (%zu bytes)", heard->length);
  check(json_object_get(json_object_get(result, "message"), "tool_calls") != NULL,
        "the message has the call");
  next = json_pack("{s:[{s:s,s:s},O,{s:s,s:s}],s:[o]}", "messages", "role", "user", "content",
                   "Weather in Paris?", json_object_get(result, "message"), "role", "tool",
                   "content", "18 degrees", "tools", json_loads(TOOL, 0, NULL));
  again = json_dumps(next, 0);
  out = NULL;
  check_status(qwen_render(model, again, NULL, 0, &count, &out), QWEN_OK, "the result goes back");
  check(count > 0 && strstr(out, "18 degrees") != NULL, "and stands in the prompt");
  qwen_string_free(out);
  free(again);
  json_decref(next);
  json_decref(begun);
  json_decref(result);
  free(heard);
  qwen_session_close(session);
}

static void check_refusals(qwen_model model) {
  static const char* const bad[] = {
      "{\"query\":\"a\",\"tools\":5}",
      "{\"query\":\"a\",\"tools\":[{\"type\":\"function\"}]}",
      "{\"query\":\"a\",\"tools\":[" TOOL "," TOOL "]}",
      "{\"query\":\"a\",\"tool_choice\":\"required\"}",
      "{\"query\":\"a\",\"tools\":[" TOOL "],\"tool_choice\":{\"function\":{\"name\":\"other\"}}}",
      "{\"query\":\"a\",\"tool_format\":\"xml\"}",
      "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"tool\",\"content\":\"b\"}]}",
  };
  size_t index, count;
  for (index = 0; index < sizeof bad / sizeof *bad; index++)
    check_status(qwen_render(model, bad[index], NULL, 0, &count, NULL), QWEN_ERROR_OPTION,
                 bad[index]);
}

int main(int argc, char** argv) {
  qwen_model model;
  if (argc < 2) return 2;
  model = open_model(argv[1], NULL);
  check_calls(model, requests[0]);
  check_calls(model, requests[1]);
  check_refusals(model);
  qwen_model_close(model);
  return contract_failures != 0;
}
