import CQwen
import Glibc

extension Subcommand {
  static let bench = Subcommand(
    name: "bench", operands: "MODEL", summary: "Measures loading, reading and answering.",
    operandCount: 1...1,
    details: """
      Each repetition reads a prompt into an empty session and says a fixed number of tokens, always
      the likeliest. What is read before the first repetition, until weights lie where they are
      fastest, is not counted. With --depth, so many tokens are in the session before.
      """,
    options: [
      Option("prompt", "P", "Tokens to read (default 512)."),
      Option("generate", "G", "Tokens to say (default 64)."),
      Option("repetitions", "R", "How often to measure (default 3)."),
      Option("depth", "D", "Tokens that are in the session before (default 0)."),
      Option("batch", "N", "Also answer N prompts together, in a batch."),
      Option("json", nil, "Write the numbers as JSON."),
    ],
    sections: ["open", "session"]
  ) { invocation throws(Failure) in
    let plan = BenchPlan(
      promptTokens: try invocation.integer("prompt", default: 512, minimum: 1),
      newTokens: try invocation.integer("generate", default: 64, minimum: 1),
      repetitions: try invocation.integer("repetitions", default: 3, minimum: 1),
      sequences: try invocation.integer("batch", default: 0, minimum: 0),
      depth: try invocation.integer("depth", default: 0, minimum: 0))
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    var options = invocation.given
    if options.value("session", "context") == nil {
      options.set(
        "session", "context", to: .number(plan.depth + plan.promptTokens + plan.newTokens))
    }
    let session = try Session(model: model, options: options["session"])
    let ids = try promptIds(model, count: plan.promptTokens)
    let deep = try promptIds(model, count: plan.depth)

    try settle(model, session, ids: try promptIds(model, count: min(512, plan.promptTokens + 1)))
    if plan.depth > 0 { _ = try measure(session, ids: deep, newTokens: 2) }
    var runs: [BenchRun] = []
    for repetition in 1...plan.repetitions {
      // Each time other tokens, so that of the last run only what is before them is kept.
      let turn = plan.depth > 0 ? repetition % ids.count : 0
      let run = try measure(
        session, ids: deep + ids[turn...] + ids[..<turn], newTokens: plan.newTokens,
        keeps: plan.depth > 0)
      runs.append(run)
      Terminal.writeError(
        "run \(repetition) of \(plan.repetitions): reads \(decimal(run.prefill, 1)) tokens/s, "
          + "says \(decimal(run.decode, 1)) tokens/s\n")
    }
    var batch: [Double] = []
    if plan.sequences > 0 {
      var given = options
      given.set("session", "max_sequences", to: .number(plan.sequences))
      for _ in 1...plan.repetitions {
        batch.append(
          try measureBatch(
            model, given["session"], ids: ids, sequences: plan.sequences, newTokens: plan.newTokens)
        )
      }
    }
    report(plan, runs, batch, model.loadSeconds, options, asJSON: invocation.has("json"))
  }
}

private struct BenchPlan {
  let promptTokens: Int
  let newTokens: Int
  let repetitions: Int
  /// Of the batch; 0 for none.
  let sequences: Int
  let depth: Int
}

/// Tokens per second of one repetition.
private struct BenchRun {
  let prefill: Double
  let decode: Double
}

/// Ordinary text, repeated up to `count` tokens: kernels and caches see what users give them.
private func promptIds(_ model: borrowing Model, count: Int) throws(Failure) -> [Int32] {
  let text = """
    The river had risen during the night, and by morning the lower meadows were under water. People \
    came out of their houses to look at it; some carried chairs upstairs, others only stood and talked. \
    In 1923, they said, it had reached the third step of the church. 春天的河水漫过了田野。

    """
  let piece = try model.tokenize(Array(text.utf8))
  guard !piece.isEmpty else { throw .general("the vocabulary gave no tokens for ordinary text") }
  return (0..<count).map { piece[$0 % piece.count] }
}

/// Runs until weights lie where they will stay, at least once.
private func settle(
  _ model: borrowing Model, _ session: borrowing Session, ids: [Int32]
) throws(Failure) {
  let longest = 1000
  for _ in 0..<longest {
    _ = try measure(session, ids: ids, newTokens: 2)
    let facts = JSON(parsing: try model.info())
    guard case .bool(false) = facts?["memory"]?["settled"] else { return }
  }
}

private func measure(
  _ session: borrowing Session, ids: [Int32], newTokens: Int, keeps: Bool = false
) throws(Failure) -> BenchRun {
  if !keeps { try session.reset() }
  let options = JSON.object([
    ("prompt_ids", .array(ids.map { .number(Int($0)) })), ("do_sample", .bool(false)),
    ("max_new_tokens", .number(newTokens)), ("min_new_tokens", .number(newTokens)),
  ])
  let result = try session.generate([], options: options, printer: Printer(isStreaming: false))
  guard let prefill = result["timings"]?["prefill_tokens_per_second"]?.double,
    let decode = result["timings"]?["decode_tokens_per_second"]?.double
  else { throw .general("the library's result has no timings") }
  return BenchRun(prefill: prefill, decode: decode)
}

private func report(
  _ plan: BenchPlan, _ runs: [BenchRun], _ batch: [Double], _ loadSeconds: Double,
  _ options: GivenOptions, asJSON: Bool
) {
  let prefill = runs.map(\.prefill).sorted()
  let decode = runs.map(\.decode).sorted()
  let resident = processMemory("VmRSS:")
  let peak = processMemory("VmHWM:")
  let together = batch.sorted()
  guard asJSON else {
    if !batch.isEmpty {
      Terminal.write("batch    \(spread(together)) tokens/s, \(plan.sequences) answers at once\n")
    }
    return Terminal.write(
      """
      load     \(decimal(loadSeconds, 2)) s
      reading  \(spread(prefill)) tokens/s, \(plan.promptTokens) tokens
      saying   \(spread(decode)) tokens/s, \(plan.newTokens) tokens
      memory   \(readableSize(Double(resident))) now, \(readableSize(Double(peak))) at most

      """)
  }
  func rates(_ sorted: [Double]) -> JSON { .array(sorted.map { .number($0) }) }
  Terminal.writeLine(
    JSON.object([
      ("version", .string(String(cString: qwen_version()))),
      ("prompt_tokens", .number(plan.promptTokens)), ("generated_tokens", .number(plan.newTokens)),
      ("repetitions", .number(plan.repetitions)), ("depth", .number(plan.depth)),
      ("open", options["open"]), ("session", options["session"]),
      ("prefill_tokens_per_second", .number(median(prefill))),
      ("decode_tokens_per_second", .number(median(decode))),
      ("prefill_runs", rates(prefill)), ("decode_runs", rates(decode)),
      ("batch_sequences", .number(plan.sequences)),
      ("batch_decode_tokens_per_second", batch.isEmpty ? .null : .number(median(together))),
      ("load_seconds", .number(loadSeconds)), ("rss_bytes", .number(resident)),
      ("peak_rss_bytes", .number(peak)),
    ]).text)
}

/// Median with minimum and maximum of sorted values.
private func spread(_ sorted: [Double]) -> String {
  let range = "\(decimal(sorted.first ?? 0, 1)) to \(decimal(sorted.last ?? 0, 1))"
  return "\(decimal(median(sorted), 1)) (\(range))"
}

private func median(_ sorted: [Double]) -> Double {
  guard !sorted.isEmpty else { return 0 }
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// A size from /proc/self/status in bytes, 0 where there is none.
func processMemory(_ field: String) -> Int {
  guard let bytes = try? readAll("/proc/self/status") else { return 0 }
  for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n")
  where line.hasPrefix(field) {
    let number = line.dropFirst(field.count).drop { $0.isWhitespace }.prefix { $0.isNumber }
    return (Int(number) ?? 0) * 1024
  }
  return 0
}
