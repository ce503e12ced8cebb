/* Asks a model one question and prints the answer as it comes.
 * cc chat.c $(pkg-config --cflags --libs libqwen) -o chat && ./chat MODEL "question" */
#include <qwen.h>
#include <stdio.h>
#include <string.h>

static int32_t print_piece(const qwen_event *event, void *user) {
  (void)user;
  if (event->kind == QWEN_EVENT_TEXT) {
    fwrite(event->text, 1, event->length, stdout);
    fflush(stdout);
  }
  return QWEN_CONTINUE;
}

int main(int argc, char **argv) {
  qwen_model model = NULL;
  qwen_session session = NULL;
  char request[4096];
  const char *question = argc > 2 ? argv[2] : "Who are you?";
  if (argc < 2 || strpbrk(question, "\"\\") != NULL || strlen(question) > 4000) {
    fprintf(stderr, "usage: chat MODEL [QUESTION without quotes]\n");
    return 2;
  }
  snprintf(request, sizeof request, "{\"query\": \"%s\", \"max_new_tokens\": 200}", question);
  if (qwen_model_open(&model, argv[1], NULL, NULL, NULL) != QWEN_OK
      || qwen_session_open(&session, model, NULL) != QWEN_OK
      || qwen_chat(session, request, print_piece, NULL, NULL) != QWEN_OK) {
    fprintf(stderr, "chat: %s\n", qwen_last_error());
    return 1;
  }
  printf("\n");
  qwen_session_close(session);
  qwen_model_close(model);
  return 0;
}
