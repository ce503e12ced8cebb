/* qwen.h: run Qwen language models inside your own program.
 *
 * One shared library, libqwen.so, this one header. C99 and later, C++11 and later.
 *
 * Conventions, true for every function:
 *  - Status. A function that can fail returns qwen_status: QWEN_OK (0), or a negative error, or one
 *    of the positive states its comment names. Outputs come last; on failure they are set to NULL or 0.
 *    qwen_last_error() then has the sentence for the calling thread: where, what, what to do.
 *  - Handles. qwen_model, qwen_session, qwen_sampler and qwen_batch are opaque. NULL, closed, foreign or garbage handles are
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

/* What this build can do, as JSON: what = "build", "cpu", "formats", "models", "options", "errors"; or what this
 * process has done with it: "metrics" (open handles, runs, tokens, seconds, failed calls). "cpu" tells the instruction
 * set in use: the best of this processor, or up to what LIBQWEN_ISA names in the environment ("scalar", "avx2",
 * "avxvnni", "avx512", "avx512bf16"; "neon", "neondot", "neoni8mm") when the process first asks. */
qwen_status qwen_describe(const char *what, char **out_json);

/* Frees a char * that the library handed out. NULL is allowed. */
void qwen_string_free(char *text);

enum {
  QWEN_LOG_ERROR = 1,   /* a broken promise inside the library */
  QWEN_LOG_WARNING = 2, /* a call that failed, with its sentence */
  QWEN_LOG_INFO = 3,    /* models and sessions opened and closed */
  QWEN_LOG_DEBUG = 4    /* each run: its counts and times */
};

/* Called for each line, on whatever thread it came up in. Text of prompts and answers is never logged. */
typedef void (*qwen_log_callback)(int32_t level, const char *message, void *user);

/* Sends lines up to a level to a callback; NULL, the beginning, sends none. The callback must not call the library.
 * When this returns, a line of the callback before may still be under way in another thread. Any thread. */
void qwen_set_log(qwen_log_callback callback, void *user, int32_t level);

/* ---- Models -------------------------------------------------------------------------------------- */

/* Weights, tokenizer and chat template; immutable once open, shared by sessions and threads. */
typedef struct qwen_model_s *qwen_model;

/* Called while a model loads: stage is a word ("tokenizer", "weights", ...), fraction runs from 0 to 1.
 * Called on the thread that called qwen_model_open. A return value other than 0 stops the load, which
 * then returns QWEN_ERROR_CANCELLED. */
typedef int32_t (*qwen_progress_callback)(const char *stage, double fraction, void *user);

/* Opens a model: path is a Hugging Face or ModelScope folder, or a .gguf file (of a model in
 * parts, name-00001-of-00003.gguf, any of them). Options: see qwen_describe("options"), section "open" ({"load": "map",
 * "threads": 4, "weights": "q8_0", ...}). Weights that are converted take the memory of the result and a few
 * megabytes. progress may be NULL. */
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

/* Facts as JSON: family, sizes, formats, "parts" (what is held in which format, in bytes), context, tokenizer, chat
 * format, defaults, memory in bytes; there "weight_bytes_per_token" is what each written token reads, and "settled" says
 * whether weights lie where they will stay ("pack": "auto" moves mapped ones between the steps of runs). */
qwen_status qwen_model_info(qwen_model model, char **out_json);

/* Writes the model at path in other formats to out_path: a GGUF file that other programs load too, or a folder of our own
 * that maps in without any conversion. Options: section "convert" ({"weights": "q4_0", "head": "q8_0", ...}). Tensors are
 * converted a slab at a time; memory stays below the size of a tensor. out_path has a hidden neighbour's name until it is
 * whole and on the disk: a failure leaves nothing, a killed process no file of the right name. What exists is refused
 * unless "overwrite" is true. "rounding": "best", the default, first passes random tokens through the model to see which
 * columns of its matrices matter. progress hears of the stages "tokenizer", "weights", "measure" and "convert"; a value
 * other than 0 stops with QWEN_ERROR_CANCELLED. */
qwen_status qwen_model_convert(const char *path, const char *out_path, const char *options_json,
                               qwen_progress_callback progress, void *user);

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

/* The bytes of one token, which need not be UTF-8, by the buffer protocol; a NUL behind them where capacity allows.
 * A token without text has none. */
qwen_status qwen_token_text(qwen_model model, int32_t id, char *bytes, size_t capacity, size_t *length);

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

/* The tokens that the session holds, by the buffer protocol. */
qwen_status qwen_session_tokens(qwen_session session, int32_t *ids, size_t capacity, size_t *count);

/* Forgets the tokens from position on; 0 <= position <= number of tokens. */
qwen_status qwen_session_rewind(qwen_session session, size_t position);

/* Opens a second session that goes on from where this one is. Nothing is copied: both share the keys and values so
 * far, and copy a page of 64 positions when they first write to it. The first one may be closed. */
qwen_status qwen_session_fork(qwen_session *out, qwen_session session);

/* Saves the tokens and their keys and values, to a file that is there as a whole or not at all (the old one stays
 * until the new one is on the disk), or to a caller's buffer by the buffer protocol, in bytes. The draft model is not
 * part of it. */
qwen_status qwen_session_save(qwen_session session, const char *path);
qwen_status qwen_session_save_buffer(qwen_session session, void *bytes, size_t capacity, size_t *size);

/* Puts a saved state in the place of what the session holds. It is checked before anything changes: damage is
 * QWEN_ERROR_FORMAT; the state of another model, "compute", "kv_cache" or long-context option is
 * QWEN_ERROR_UNSUPPORTED and the sentence names it; more tokens than the context is QWEN_ERROR_CONTEXT. A state that
 * someone made up can change what the session says, and nothing else. */
qwen_status qwen_session_load(qwen_session session, const char *path);
qwen_status qwen_session_load_buffer(qwen_session session, const void *bytes, size_t size);

/* Gives a session a smaller model with the same vocabulary, which guesses ahead in runs with "speculative": "draft";
 * NULL takes it away. The session keeps what it needs of it alive. Answers stay the same to the bit. Another
 * vocabulary is QWEN_ERROR_UNSUPPORTED. */
qwen_status qwen_session_set_draft(qwen_session session, qwen_model draft);

/* Stops the run that is under way, in prefill as in decode, within 50 ms; a run that has begun to answer
 * keeps what it said and finishes with "cancelled". Any thread, any signal handler. A session without a
 * run ignores it. */
qwen_status qwen_session_cancel(qwen_session session);

/* Closes a session. A run that another thread has under way is cancelled first. */
void qwen_session_close(qwen_session session);

/* ---- Generating ---------------------------------------------------------------------------------- */

enum {
  QWEN_EVENT_TEXT = 1,           /* text: a piece of the answer, whole characters only */
  QWEN_EVENT_PROGRESS = 2,       /* the prompt is being read: fraction from 0 to 1 */
  QWEN_EVENT_DONE = 3,           /* the run is over: text is the result JSON, as out_json would give it */
  QWEN_EVENT_REASONING = 4,      /* chat: a piece of the reasoning before the answer */
  QWEN_EVENT_TOOL_CALL = 5,      /* chat with tools: a call begins; text is {"index", "id", "name"} */
  QWEN_EVENT_TOOL_ARGUMENTS = 6, /* a piece of the text of the arguments of call number `call` */
  QWEN_EVENT_ERROR = 9           /* batches only: the request failed */
  /* More kinds may follow: pass over those you don't know. */
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
  int32_t call;      /* TOOL_CALL, TOOL_ARGUMENTS: index of the call in the answer; else -1 */
} qwen_event;

enum {
  QWEN_CONTINUE = 0, /* go on */
  QWEN_STOP = 1,     /* stop, keep what was said */
  QWEN_CANCEL = 2    /* stop and undo: the call returns QWEN_ERROR_CANCELLED and the session is as before */
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
 * "decode_seconds", "prefill_tokens_per_second", "decode_tokens_per_second"}, "speculation"?: {"steps",
 * "drafted", "accepted"}, "seed", "logprobs"?, "effective_options", "replay": {"library", "model",
 * "instruction_set", "open", "session", "request"}}: the request in it, sent to a session opened with these options
 * on the model with this fingerprint, gives the same bytes on the same instruction set. */
qwen_status qwen_generate(qwen_session session, const char *prompt, size_t length,
                          const char *options_json, qwen_event_callback on_event, void *user,
                          char **out_json);

/* Answers a chat. request: {"messages": [...]}, or {"query": "...", "history": [["question", "answer"]...],
 * "system": "..."}, with any option of qwen_generate and of section "chat" beside it, and "tools".
 *
 * A message is {"role": "system"|"user"|"assistant"|"tool", "content": "..."}; content may be a list of
 * {"type": "text", "text"}. An assistant's may have "reasoning_content" and "tool_calls": [{"id", "type":
 * "function", "function": {"name", "arguments"}}] (arguments: an object, or its text), with content null or
 * ""; a tool's result may have "tool_call_id" (else results belong to calls in order). Role "function" is
 * "tool". Nothing that a request says is ever read as control tokens or as calls. The part of the
 * conversation that is already cached in the session is not read again.
 *
 * Tools. "tools": [{"type": "function", "function": {"name", "description", "parameters"}}] or the release's
 * {"name_for_model", "name_for_human", "description_for_model", "parameters", "args_format": "json"|"code"|
 * "none"}. "tool_format": "auto" takes what the family was trained with: "react" (Thought, Action, Action
 * Input) for Qwen of 2023, "hermes" (JSON in <tool_call>) for the later ones. "tool_choice": "auto" leaves it
 * to the model; "none" leaves the tools out of the prompt; "required" and {"function": {"name": "..."}} write
 * the beginning of a call into the prompt (in the second case with name), so that the answer can only go on
 * with it, without reasoning before it; what the model then writes is not constrained.
 * What counts as a call: in "hermes", text between <tool_call> and </tool_call>, which are tokens where the
 * vocabulary has them and then never come from text that spells them; in "react", the last "Action:" at the
 * beginning of a line with an "Action Input:" behind it, in what the model wrote in this run only (the run
 * ends before "Observation:"). A line of a tool's result that begins with a word of ReAct gets a space
 * before it. Arguments are read tolerantly: JSON5, Python literals, fences, missing ends.
 *
 * The result is that of qwen_generate and
 *  "message": {"role": "assistant", "content", "reasoning_content"?, "tool_calls"?}, ready to be appended
 *    to "messages" before the results of the tools; content is null if there are only calls;
 *  "history": the pairs including this turn, unless it waits for tools;
 *  with tools, "tool_calls": [{"id", "name", "arguments": {...} or null, "arguments_text" (as written),
 *    "repaired"?: true (was not JSON as it stood), "cut"?: true (its end was missing), "error"?}], and
 *    finish_reason "tool_calls" where a finished answer has some;
 *  with tools or reasoning, "text" is the content alone and "raw_text" everything that was written.
 * Events: TEXT pieces joined are "text"; REASONING pieces are reasoning_content (in ReAct: the thoughts);
 * TOOL_CALL and TOOL_ARGUMENTS pieces are the calls, arguments_text piece by piece. No piece holds part of a
 * marker. A second TOOL_CALL with the same index replaces the first (ReAct: the last action counts). A ReAct
 * answer that has neither action nor final answer comes as TEXT at the end. With continue_final_message the
 * message's content is the continued one and "text" what was added. */
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

/* A vector for a text: hidden_size floats, the final hidden states of its tokens pooled. options, section "embed":
 * {"pooling": "mean" | "last", "normalize": true, ...}. The session's conversation is replaced by the text. */
qwen_status qwen_embed(qwen_session session, const char *text, size_t length, const char *options_json,
                       float *values, size_t capacity, size_t *count);

/* ---- For hosts with a loop of their own ------------------------------------------------------------ */

/* Evaluates ids behind what the session holds. QWEN_ERROR_CONTEXT if they do not fit; when cancelled, whole chunks
 * that were evaluated before stay (see qwen_session_tokens). */
qwen_status qwen_session_feed(qwen_session session, const int32_t *ids, size_t count);

/* Logits behind token row of the ids fed last (negative: from the end, -1 for the last): vocab_size floats. At hand
 * are the last "prefill_chunk" tokens, until anything else is evaluated in the session. */
qwen_status qwen_session_logits(qwen_session session, int64_t row, float *values, size_t capacity,
                                size_t *count);

/* Chooses tokens as a run does, with a random generator of its own. One call at a time, else QWEN_ERROR_BUSY. */
typedef struct qwen_sampler_s *qwen_sampler;

/* Options, section "sampler": {"temperature": 0.8, "top_p": 0.9, "seed": 1, ...}. model may be NULL; with one its
 * defaults fill in what the options do not say, and ids without text are never chosen. */
qwen_status qwen_sampler_open(qwen_sampler *out, qwen_model model, const char *options_json);

/* The tokens that may follow, likeliest first, and their probabilities, by the buffer protocol. history: the
 * tokens so far, all of which count for penalties. logits: one float for each of vocab rows; they are not changed.
 * Nothing is drawn. */
qwen_status qwen_sampler_distribution(qwen_sampler sampler, const int32_t *history, size_t history_count,
                                      const float *logits, size_t vocab, int32_t *ids,
                                      float *probabilities, size_t capacity, size_t *count);

/* Draws the token that follows. */
qwen_status qwen_sampler_sample(qwen_sampler sampler, const int32_t *history, size_t history_count,
                                const float *logits, size_t vocab, int32_t *id);

void qwen_sampler_close(qwen_sampler sampler);

/* ---- Batches --------------------------------------------------------------------------------------- */

/* Many requests of one model answered together: each step passes over the weights once for all of them. Every answer
 * is, to the bit, the one that a session of its own would give. */
typedef struct qwen_batch_s *qwen_batch;

/* Called for each event of a request, on the thread that called qwen_batch_step. QWEN_EVENT_DONE has the result;
 * QWEN_EVENT_ERROR has, as text, what qwen_last_error_json would say. Returns QWEN_CONTINUE, QWEN_STOP (keep what was
 * said, DONE follows) or QWEN_CANCEL (no further event). */
typedef int32_t (*qwen_batch_callback)(int64_t request, const qwen_event *event, void *user);

/* Opens a batch. Options, section "batch": {"max_sequences": 8, "context": 4096, ...}; context is that of each
 * request. */
qwen_status qwen_batch_open(qwen_batch *out, qwen_model model, const char *options_json);

/* Queues a request as for qwen_begin and returns its number; it is taken up as soon as there is room. Any thread, also
 * during a step. "speculative" has no effect here. */
qwen_status qwen_batch_submit(qwen_batch batch, const char *request_json, int64_t *request);

/* One pass: a token of each answer under way, and as much of the waiting prompts as a step takes. *remaining, which
 * may be NULL, receives the number of requests that are not over: call again until it is 0. on_event may be NULL.
 * On an error, all requests are as before. */
qwen_status qwen_batch_step(qwen_batch batch, qwen_batch_callback on_event, void *user, size_t *remaining);

/* Ends a request at the next step; what was said stays, and its DONE event follows. A number that is not live is
 * QWEN_ERROR_ARGUMENT. Any thread. */
qwen_status qwen_batch_cancel(qwen_batch batch, int64_t request);

/* Closes a batch; its requests end without an event. A step that another thread has under way is cancelled first. */
void qwen_batch_close(qwen_batch batch);

#ifdef __cplusplus
}
#endif

#endif /* QWEN_H */
