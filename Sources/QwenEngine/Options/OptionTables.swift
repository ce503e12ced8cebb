package import QwenFormats
internal import QwenText
internal import QwenModel

extension OptionTable {
  /// Largest value of integers that count tokens.
  static let largeCount = 1 << 28

  /// Options of opening a model.
  package static let open = OptionTable(
    section: "open",
    options: [
      Option(
        "load", .word(["map", "copy", "vocabulary"]), default: "map",
        "How weights come to memory: mapped from the file and shared, copied, or not at all (tokenizer only)."
      ),
      Option(
        "pack", .word(["auto", "on", "off"]), default: "auto",
        "Interleaves the rows of weights in memory of our own, with the same results and faster answers. auto leaves mapped ones in the file's pages at first, so that the model is there at once, and moves them bit by bit while it answers, as far as memory allows; on interleaves them while loading; off leaves them in the file's pages, which processes share."
      ),
      Option(
        "threads", .integer(0...1024), default: 0,
        "Threads of one run; 0 takes the processor cores this process may use. No more are started than there are processors."
      ),
      Option(
        "chat_format", .word(["auto", "raw"] + ChatFormat.names), default: "auto",
        "How to chat: auto recognises the model's own template, raw refuses chats, a name insists on that family's way."
      ),
      Option(
        "compute", .word(["auto", "float32", "bfloat16"]), default: "auto",
        "auto multiplies quantised weights by 8-bit activations and float ones by floats; float32 decodes the quantised and computes in float; bfloat16 is auto, but multiplies weights in bfloat16 by activations rounded to bfloat16, which reads prompts much faster on processors with AVX512-BF16."
      ),
      Option(
        "outliers", .word(["token", "step"]), default: "token",
        "Of int8 weights: in which columns an activation counts as an outlier and is multiplied in float. token: its own, so that no result depends on what is computed beside it; step: those of every token of a step, as bitsandbytes does."
      ),
      Option(
        "matmul", .word(["auto", "openblas"]), default: "auto",
        "openblas hands products of float weights to the system's OpenBLAS, without our promise of equal bits."
      ),
      Option(
        "max_memory", .bytes, default: nil,
        "Most bytes that weights, mapped ones included, and all sessions of the model may take; more is an error before it is allocated. Default: a session may not need more than the machine has."
      ),
      Option(
        "prefix_cache", .integer(0...(1 << 20)), default: 0,
        "MiB of keys and values that finished prompts and answers leave behind for other sessions of the model that begin with the same tokens; 0 for none."
      ),
    ] + weightFormats)

  /// Storage formats, for opening and for converting.
  static let weightFormats = [
    Option(
      "weights", .word(WeightPolicy.words), default: "stored",
      "Format of the matrices of attention and feed-forward parts, converted while loading; rows that are no whole number of blocks take the next wider format."
    ),
    Option(
      "head", .word(WeightPolicy.words), default: nil,
      "Format of the output head; default: that of weights, but at least q8_0, or as stored if that is smaller."
    ),
    Option(
      "embeddings", .word(WeightPolicy.words), default: nil,
      "Format of the token embeddings; default: as stored, where only the rows in use take memory (in a file that is written: that of the head)."
    ),
    Option(
      "rounding", .word(["plain", "best"]), default: nil,
      "How numbers are rounded: plain as the formats' own programs do, best by a search for the least error, which takes longer; default: plain while loading, best in a file that is written."
    ),
  ]

  /// Options of writing a model in other formats.
  package static let convert = OptionTable(
    section: "convert",
    options: weightFormats + [
      Option(
        "container", .word(["auto", "gguf", "folder"]), default: "auto",
        "What is written; auto writes a GGUF file if the name ends in .gguf, else a folder that maps in as it is."
      ),
      Option(
        "pack", .word(["off", "auto", "on"]), default: "off",
        "Interleaves the rows of matrices in a folder, so that they are not interleaved at each load: on all that have such a form, auto those that are faster so on this processor. Only this library reads them; not for a GGUF file."
      ),
      Option(
        "overwrite", .bool, default: false,
        "Replaces a file of that name, or a folder that was written by this library."),
      Option(
        "threads", .integer(0...1024), default: 0,
        "Threads that encode; 0 takes the processor cores this process may use."),
    ])

  /// Options of opening a session.
  package static let session = OptionTable(
    section: "session",
    options: [
      Option(
        "context", .integer(1...largeCount), default: nil,
        "Tokens a conversation may have; default: the model's own length, at most 8192."),
      Option(
        "kv_cache", .word(["f16", "f32", "q8", "q4"]), default: "f16",
        "How keys and values are stored: half precision, float, or in 8 or 4 bits with scales, half and a third of the memory of f16."
      ),
      Option(
        "prefill_chunk", .integer(1...4096), default: 128,
        "Tokens of a prompt evaluated in one step; changes speed and memory, never a result."),
      Option(
        "ntk", .wordOrNumber(["off", "reference", "planned"], 1...1e6), default: nil,
        "Growth of the rotary base: by the prompt's length as the release does, by prompt and answer together, or this alpha; default: the model's own."
      ),
      Option(
        "logn", .bool, default: nil,
        "Scales queries beyond the trained length by the logarithm of their position; default: the model's own."
      ),
      Option(
        "window", .wordOrInteger(["off", "graded"], 1...largeCount), default: nil,
        "Positions that a query sees: so many in every layer, or graded, the trained length in the first four layers and twice as many in each next four; default: the model's own."
      ),
      Option(
        "yarn", .number(1...1024), default: nil,
        "Factor by which YaRN extends the trained length; default: the model's own."),
      Option(
        "max_memory", .bytes, default: nil,
        "Most bytes that the session may take: its whole context and the buffers of a step."),
    ])

  /// Options of a plan besides those of opening and of a session, which it takes too.
  package static let plan = OptionTable(
    section: "plan",
    options: [
      Option(
        "contexts", .integers(1...largeCount), default: nil,
        "Contexts whose memory is listed; default: powers of two from 2048 to the model's length.")
    ])

  /// Everything that a plan takes; "max_memory" is that of the model.
  package static let planning = OptionTable(
    section: "plan",
    options: plan.options + open.options + session.options.filter { $0.name != "max_memory" })

  /// Options of one run.
  package static let generate = OptionTable(
    section: "generate",
    options: [
      Option(
        "max_new_tokens", .integer(0...largeCount), default: 512,
        "Most tokens to generate; the context's end comes first if it is nearer."),
      Option(
        "min_new_tokens", .integer(0...largeCount), default: 0,
        "Stop tokens are not sampled before this many tokens."),
      Option(
        "do_sample", .bool, default: false,
        "true draws from the distribution, false takes the most likely token. Giving a temperature above 0 means true."
      ),
      Option(
        "temperature", .number(0...100), default: 1,
        "Divides the logits before drawing; 0 means do_sample false."),
      Option(
        "top_k", .integer(0...largeCount), default: 0,
        "Draws among the k most likely tokens; 0 for all."),
      Option(
        "top_p", .number(0...1), default: 1,
        "Draws among the fewest tokens whose probabilities reach this sum."),
      Option(
        "min_p", .number(0...1), default: 0,
        "Leaves out tokens less likely than this fraction of the most likely one."),
      Option(
        "typical_p", .number(0...1), default: 1,
        "Draws among the tokens whose surprise is nearest to the expected one, up to this probability."
      ),
      Option(
        "epsilon_cutoff", .number(0...1), default: 0,
        "Leaves out tokens less likely than this."),
      Option(
        "eta_cutoff", .number(0...1), default: 0,
        "Leaves out tokens less likely than min(eta, sqrt(eta) exp(-entropy))."),
      Option(
        "xtc_probability", .number(0...1), default: 0,
        "How often all tokens at or above xtc_threshold but the least likely of them are left out."),
      Option(
        "xtc_threshold", .number(0...1), default: 0.1,
        "Probability from which xtc_probability looks at a token."),
      Option(
        "mirostat", .choice([0, 2]), default: 0,
        "2 keeps the surprise of the answer near mirostat_tau; temperature stays, the filters above don't apply. 0 is off."
      ),
      Option(
        "mirostat_tau", .number(0...100), default: 5, "Surprise that mirostat aims at, in bits."),
      Option(
        "mirostat_eta", .number(0...1), default: 0.1, "How fast mirostat corrects itself."),
      Option(
        "repetition_penalty", .number(0.01...100), default: 1,
        "Divides positive and multiplies negative logits of tokens that occurred, prompt included."),
      Option(
        "frequency_penalty", .number(-10...10), default: 0,
        "Subtracted from a logit for each time its token was generated."),
      Option(
        "presence_penalty", .number(-10...10), default: 0,
        "Subtracted from the logit of a token that was generated at all."),
      Option(
        "no_repeat_ngram_size", .integer(0...largeCount), default: 0,
        "No sequence of this many tokens occurs twice, prompt included; 0 for no rule."),
      Option(
        "logit_bias", .biases, default: .object(JSONObject()),
        "Added to the logits of tokens before all else: an object of token ids, as {\"198\": -5}."),
      Option(
        "dry_multiplier", .number(0...100), default: 0,
        "A token that continues a repetition of n tokens loses dry_multiplier * dry_base^(n - dry_allowed_length)."
      ),
      Option("dry_base", .number(1...10), default: 1.75, "Growth of that loss with each token."),
      Option(
        "dry_allowed_length", .integer(1...largeCount), default: 2,
        "Shorter repetitions cost nothing."),
      Option(
        "dry_range", .integer(0...largeCount), default: 0,
        "Most recent tokens in which repetitions are looked for; 0 for all."),
      Option(
        "dry_sequence_breakers", .strings, default: ["\n", ":", "\"", "*"],
        "Texts whose last token ends a repetition."),
      Option(
        "seed", .integer(0...Int.max), default: nil,
        "Start of the random generator; default: taken from the system and reported."),
      Option(
        "stop", .strings, default: [],
        "Text that ends the answer; it is not part of the result."),
      Option(
        "stop_ids", .integers(0...largeCount), default: nil,
        "Tokens that end the answer; default: the model's own."),
      Option(
        "logprobs", .integer(0...100), default: nil,
        "Reports the log probability of each token and of that many best alternatives."),
      Option(
        "deadline_ms", .integer(1...(1 << 40)), default: nil,
        "The run ends with what it has after this time."),
      Option(
        "special", .wordOrStrings(["none", "all"]), default: "none",
        "Control tokens that are recognised in a prompt's text."),
      Option(
        "skip_special", .bool, default: true,
        "Leaves control tokens out of the text of the answer."),
      Option(
        "speculative", .speculation, default: "off",
        "Guesses tokens ahead and checks several in one pass; the answer is the same to the bit. lookup guesses what followed an earlier occurrence of the text's end, draft asks the session's draft model."
      ),
    ])

  /// Every table, in the order of the documentation.
  package static let all: [OptionTable] = [
    .open, .session, .plan, .generate, .chatOnly, .embed, .sampler, .batch, .convert,
  ]

  /// The tables as JSON: {"open": [{"name", "type", "default", "minimum", "maximum", "values", "sentence"}]}.
  package static func describe() -> JSONValue {
    .object(
      JSONObject(
        all.map { table in (table.section, JSONValue.array(table.options.map(\.description))) }))
  }
}

extension Option {
  /// The option as a JSON object.
  var description: JSONValue {
    var object: JSONObject = ["name": .string(name)]
    switch kind {
    case .bool: object["type"] = "boolean"
    case .integer(let range):
      object["type"] = "integer"
      object["minimum"] = .integer(range.lowerBound)
      object["maximum"] = .integer(range.upperBound)
    case .wordOrNumber(let words, _), .wordOrInteger(let words, _):
      object["type"] = "string or number"
      object["values"] = .array(words.map { .string($0) })
    case .choice(let values):
      object["type"] = "integer"
      object["values"] = .array(values.map { .integer($0) })
    case .number(let range):
      object["type"] = "number"
      object["minimum"] = .number(range.lowerBound)
      object["maximum"] = .number(range.upperBound)
    case .word(let words):
      object["type"] = "string"
      object["values"] = .array(words.map { .string($0) })
    case .biases: object["type"] = "object of numbers"
    case .speculation:
      object["type"] = "string or object"
      object["values"] = ["off", "lookup", "draft"]
    case .strings: object["type"] = "strings"
    case .bytes: object["type"] = "integer or string"
    case .integers: object["type"] = "integers"
    case .wordOrStrings(let words):
      object["type"] = "string or strings"
      object["values"] = .array(words.map { .string($0) })
    }
    object["default"] = fallback
    object["sentence"] = .string(sentence)
    return .object(object)
  }
}
