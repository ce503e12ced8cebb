/* qwen.h: run Qwen language models inside your own program.
 *
 * One shared library, libqwen.so, this one header. C99 and later, C++11 and later.
 *
 * Conventions, true for every function:
 *  - Status. A function that can fail returns qwen_status: QWEN_OK (0), or a negative error, or one
 *    of the positive states its comment names. Outputs come last; on failure they are set to NULL or 0.
 *    qwen_last_error() then has the sentence for the calling thread: where, what, what to do.
 *  - Handles. qwen_model and qwen_session are opaque. NULL, closed, foreign or garbage handles are
 *    refused with QWEN_ERROR_HANDLE, never dereferenced. Closing NULL or a closed handle is harmless.
 *  - Text is UTF-8 with a byte length beside it; length QWEN_NUL means NUL-terminated. Text given by the
 *    library is always NUL-terminated as well.
 *  - Options are JSON objects; NULL or "" means all defaults. An unknown key, a wrong type or a value out
 *    of range is QWEN_ERROR_OPTION and the sentence names the key. qwen_describe("options") lists them all.
 *  - Ownership. A char * handed out through char ** belongs to you: free it with qwen_string_free and with
 *    nothing else. A const char * is borrowed; its comment says how long it lives.
 *  - Buffers. The caller gives a buffer and its capacity in elements. *count receives the needed number
 *    of elements always; when capacity is smaller, nothing is written and QWEN_ERROR_BUFFER is returned,
 *    except for capacity 0, which asks for the size and returns QWEN_OK.
 *  - Threads. A model may be used by any number of threads at once. A session serves one call at a time; a
 *    second one gets QWEN_ERROR_BUSY at once. qwen_session_cancel may be called from any thread or signal
 *    handler. The library starts no thread before the first request that needs one.
 *  - The host. Nothing is written to stdout or stderr, no signal handler is installed, no locale or
 *    floating-point mode is changed, and no input ends the process. After fork(), the child may use none of
 *    its parent's handles: they answer QWEN_ERROR_FORKED.
 */
#ifndef QWEN_H
#define QWEN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status -------------------------------------------------------------------------------------- */

typedef int32_t qwen_status;

enum {
  QWEN_OK = 0,
  QWEN_PENDING = 1,             /* qwen_next: nothing within the timeout, call again */
  QWEN_DONE = 2,                /* qwen_next: the run is over, its last event was delivered before */
  QWEN_ERROR_ARGUMENT = -1,     /* a NULL or impossible argument, text that is not UTF-8 */
  QWEN_ERROR_HANDLE = -2,       /* not a live handle of the right kind */
  QWEN_ERROR_MEMORY = -3,       /* not enough memory, or max_memory would be exceeded */
  QWEN_ERROR_IO = -4,           /* the operating system refused a file operation */
  QWEN_ERROR_FORMAT = -5,       /* a file breaks its format */
  QWEN_ERROR_UNSUPPORTED = -6,  /* a valid file or request that this build can't serve */
  QWEN_ERROR_LIMIT = -7,        /* a documented limit is exceeded */
  QWEN_ERROR_CONTEXT = -8,      /* the prompt does not fit into the context */
  QWEN_ERROR_CANCELLED = -9,    /* cancelled before there was a result to keep */
  QWEN_ERROR_BUSY = -10,        /* the session is at work in another call */
  QWEN_ERROR_NUMERIC = -11,     /* the model produced a number that is not finite */
  QWEN_ERROR_BUFFER = -12,      /* the caller's buffer is too small; *count has the size */
  QWEN_ERROR_OPTION = -13,      /* an option or request key is unknown, ill-typed or out of range */
  QWEN_ERROR_DEADLINE = -14,    /* deadline_ms passed before there was a result to keep */
  QWEN_ERROR_FORKED = -15,      /* a handle of the parent process used after fork() */
  QWEN_ERROR_INTERNAL = -16     /* a broken promise inside the library: please report it */
};

/* Length that says "the text ends at its NUL". */
#define QWEN_NUL ((size_t)-1)

/* ---- Library ------------------------------------------------------------------------------------- */

/* Version as "major.minor.patch"; static storage. */
const char *qwen_version(void);

/* Version of this interface; grows when functions are added, SONAME changes when any is removed. */
int32_t qwen_abi_version(void);

/* Name of a status, as "QWEN_ERROR_FORMAT"; static storage; "QWEN_UNKNOWN" for other numbers. */
const char *qwen_status_name(qwen_status status);

/* Sentence on the last failure in the calling thread, "" if there was none. Valid until this thread's
 * next call into the library. */
const char *qwen_last_error(void);

/* The same as JSON: {"status", "name", "message", "path"?, "offset"?, "key"?, "hint"?}. Same lifetime. */
const char *qwen_last_error_json(void);

/* What this build can do, as JSON: what = "build", "cpu", "formats", "models", "options", "errors". */
qwen_status qwen_describe(const char *what, char **out_json);

/* Frees a char * that the library handed out. NULL is allowed. */
void qwen_string_free(char *text);

/* ---- Models -------------------------------------------------------------------------------------- */

/* Weights, tokenizer and chat template; immutable once open, shared by sessions and threads. */
typedef struct qwen_model_s *qwen_model;

/* Called while a model loads: stage is a word ("tokenizer", "weights", ...), fraction runs from 0 to 1.
 * Called on the thread that called qwen_model_open. A return value other than 0 stops the load, which
 * then returns QWEN_ERROR_CANCELLED. */
typedef int32_t (*qwen_progress_callback)(const char *stage, double fraction, void *user);

/* Opens a model: path is a Hugging Face or ModelScope folder, or one .gguf file. Options: see
 * qwen_describe("options"), section "open" ({"load": "map", "threads": 4, ...}). progress may be NULL. */
qwen_status qwen_model_open(qwen_model *out, const char *path, const char *options_json,
                            qwen_progress_callback progress, void *user);

/* What a model and a session of it would take, as JSON, from the headers of its files: no weights are read, nothing
 * large is allocated. Options: those of qwen_model_open and qwen_session_open together, and section "plan". The answer:
 * {"path", "family", "weights": {"bytes", "mapped_bytes" (pages of files, which the system may drop),
 * "norms_and_biases_bytes", "parts": [{"part", "format", "bits_per_weight", "matrices", "bytes", "mapped_bytes"}]},
 * "session": {"context", "kv_cache", "prefill_chunk", "workspace_bytes", "kv_bytes_per_token", "kv_bytes"},
 * "total_bytes", "fits" (max_memory, or the machine), "contexts": [{"context", "kv_bytes", "total_bytes", "fits"}],
 * "memory": {"machine_bytes", "available_bytes", "max_memory"?, "context_that_fits", "context_that_fits_now"}}. */
qwen_status qwen_model_plan(const char *path, const char *options_json, char **out_json);

/* Facts as JSON: family, sizes, formats, context, tokenizer, chat format, defaults, memory in bytes. */
qwen_status qwen_model_info(qwen_model model, char **out_json);

/* Drops the caller's hold. Sessions that are still open keep what they need alive. */
void qwen_model_close(qwen_model model);

/* ---- Text and tokens ----------------------------------------------------------------------------- */

/* Text to token ids. options: {"special": "none" (default) | "all" | ["<|im_start|>", ...],
 * "disallow": "all" | [...]}: which control tokens may be recognised in the text, and which make it an
 * error. With "none", control text is ordinary text. */
qwen_status qwen_tokenize(qwen_model model, const char *text, size_t length, const char *options_json,
                          int32_t *ids, size_t capacity, size_t *count);

/* Token ids to text. options: {"skip_special": false, "errors": "replace" (default) | "ignore" |
 * "bytes"}; "bytes" gives the bytes as they are, which need not be UTF-8. text receives *length bytes and,
 * if capacity allows, a NUL behind them, which *length does not count. */
qwen_status qwen_detokenize(qwen_model model, const int32_t *ids, size_t count,
                            const char *options_json, char *text, size_t capacity, size_t *length);

/* The id of the token with exactly this text, control tokens included, or -1 in *id. */
qwen_status qwen_token_id(qwen_model model, const char *text, size_t length, int32_t *id);

/* ---- Sessions ------------------------------------------------------------------------------------ */

/* One conversation: its cached keys and values, its position, its random generator. */
typedef struct qwen_session_s *qwen_session;

/* Opens a session. Options, section "session": {"context": 4096, "kv_cache": "f16", ...}. */
qwen_status qwen_session_open(qwen_session *out, qwen_model model, const char *options_json);

/* Facts as JSON: position, context, tokens cached, memory in bytes. */
qwen_status qwen_session_info(qwen_session session, char **out_json);

/* Forgets everything said; the next run starts from an empty cache. */
qwen_status qwen_session_reset(qwen_session session);

/* Stops the run that is under way, in prefill as in decode, within 50 ms; a run that has begun to answer
 * keeps what it said and finishes with "cancelled". Any thread, any signal handler. A session without a
 * run ignores it. */
qwen_status qwen_session_cancel(qwen_session session);

/* Closes a session. A run that another thread has under way is cancelled first. */
void qwen_session_close(qwen_session session);

/* ---- Generating ---------------------------------------------------------------------------------- */

enum {
  QWEN_EVENT_TEXT = 1,     /* text: a piece of the answer, whole characters only */
  QWEN_EVENT_PROGRESS = 2, /* the prompt is being read: fraction from 0 to 1 */
  QWEN_EVENT_DONE = 3      /* the run is over: text is the result JSON, as out_json would give it */
};

/* One event of a run. Read no member beyond size. All pointers live until the callback returns, or until
 * the next qwen_next on that session. */
typedef struct qwen_event {
  uint32_t size;     /* sizeof(qwen_event) of the library */
  int32_t kind;      /* QWEN_EVENT_... */
  const char *text;  /* UTF-8, NUL-terminated, never NULL */
  size_t length;     /* bytes of text */
  int32_t id;        /* the token that completed this piece, -1 if none */
  float logprob;     /* its log probability if "logprobs" was asked for, else 0 */
  double fraction;   /* PROGRESS: part of the prompt that is read */
} qwen_event;

enum {
  QWEN_CONTINUE = 0, /* go on */
  QWEN_STOP = 1,     /* stop, keep what was said */
  QWEN_CANCEL = 2    /* stop and undo: the call returns QWEN_ERROR_CANCELLED and nothing it added stays in the
                      * session; of what was cached before, the part that its prompt shared stays */
};

/* Called for each event, on the thread that called in, never after that call returned. Returns
 * QWEN_CONTINUE, QWEN_STOP or QWEN_CANCEL. Calling the same session from it gives QWEN_ERROR_BUSY. */
typedef int32_t (*qwen_event_callback)(const qwen_event *event, void *user);

/* Continues a text. prompt: UTF-8; options: section "generate", among them max_new_tokens, temperature,
 * top_k, top_p, min_p, repetition_penalty, seed, do_sample, stop, stop_ids, logprobs, deadline_ms, special
 * (control tokens in the prompt, as in qwen_tokenize). With prompt NULL, "prompt_ids": [1, 2, ...] among the
 * options is the prompt. Defaults come from the model's generation_config, then from the table. on_event may
 * be NULL. *out_json, which may be NULL if not wanted: {"text", "ids", "finish_reason":
 * "stop"|"length"|"cancelled"|"deadline", "stop_match"? (the stop text, or the id of the stop token), "usage":
 * {"prompt_tokens", "cached_tokens", "evaluated_tokens", "completion_tokens"}, "timings": {"prefill_seconds",
 * "decode_seconds", "prefill_tokens_per_second", "decode_tokens_per_second"}, "seed", "logprobs"?,
 * "effective_options"}. */
qwen_status qwen_generate(qwen_session session, const char *prompt, size_t length,
                          const char *options_json, qwen_event_callback on_event, void *user,
                          char **out_json);

/* Answers a chat. request: {"messages": [{"role": "system"|"user"|"assistant", "content": "..."}...]} or
 * {"query": "...", "history": [["question", "answer"]...], "system": "..."}, with any option of
 * qwen_generate beside it, and "max_window_size" (tokens that history may take; older turns are left out) and
 * "enable_thinking" (Qwen3). Content is never read as control tokens. The part of the conversation that is
 * already cached in the session is not read again. The result is that of qwen_generate and "message":
 * {"role", "content"}, "history": the pairs including this turn. */
qwen_status qwen_chat(qwen_session session, const char *request_json, qwen_event_callback on_event,
                      void *user, char **out_json);

/* The same two by pull. qwen_begin starts a run on a thread of the library: a request with "prompt" is
 * qwen_generate, one with "messages" or "query" is qwen_chat. qwen_next waits up to timeout_ms (0: not at
 * all, negative: without limit) for the next event: QWEN_OK and *event, QWEN_PENDING, QWEN_DONE after the
 * DONE event, or the error that ended the run. The event lives until the next call on the session. */
qwen_status qwen_begin(qwen_session session, const char *request_json);
qwen_status qwen_next(qwen_session session, int64_t timeout_ms, const qwen_event **event);

/* The exact prompt that a request makes: its ids by the buffer protocol, and, if out_text is not NULL,
 * its text with control tokens spelled out. Nothing is evaluated. */
qwen_status qwen_render(qwen_model model, const char *request_json, int32_t *ids, size_t capacity,
                        size_t *count, char **out_text);

/* ---- Scores -------------------------------------------------------------------------------------- */

/* Logits after each of the given tokens from index first on: (count - first) rows of vocab_size floats, row
 * i belongs to ids[first + i]. The session's conversation is replaced by ids; a cached prefix is reused.
 * capacity and *written count floats. */
qwen_status qwen_logits(qwen_session session, const int32_t *ids, size_t count, size_t first,
                        float *values, size_t capacity, size_t *written);

/* Natural-log probability of each token given those before it: count - 1 values, value i for ids[i + 1].
 * The session's conversation is replaced by ids. */
qwen_status qwen_score(qwen_session session, const int32_t *ids, size_t count, float *logprobs,
                       size_t capacity, size_t *written);

#ifdef __cplusplus
}
#endif

#endif /* QWEN_H */
