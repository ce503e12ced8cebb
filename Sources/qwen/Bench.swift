import CQwen
import Glibc

extension Subcommand {
  static let bench = Subcommand(
    name: "bench", operands: "MODEL", summary: "Measures loading, reading and answering.",
    operandCount: 1...1,
    details: """
      Each repetition reads a prompt into an empty session and says a fixed number of tokens, always
      the likeliest. What is read before the first repetition, until weights lie where they are
      fastest, is not counted. With --depth, so many tokens are in the session before. Between
      repetitions the same number of threads reads other memory: "stream" says what of that rate the
      weights reach that each written token reads. With --batch, N prompts are read first, one behind
      the other; then G steps are timed, each of which writes one token of every answer.
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
    // Before the model, so that what it takes can be taken off again.
    let memory = ReadBandwidth()
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
    let facts = try readAnswer(try model.info())
    let threads = facts["threads"]?.int ?? 1
    var runs: [BenchRun] = []
    for repetition in 1...plan.repetitions {
      memory.measure(threads: threads)
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
    memory.measure(threads: threads)
    var batch: [Double] = []
    if plan.sequences > 0 {
      let bench = BatchBench(
        sequences: plan.sequences, newTokens: plan.newTokens,
        chunk: try session.info()["prefill_chunk"]?.int ?? 1)
      for _ in 1...plan.repetitions {
        batch.append(try bench.measure(model, invocation.given, ids: ids))
      }
    }
    let result = BenchResult(
      plan: plan, runs: runs, batch: batch, loadSeconds: model.loadSeconds, facts: facts,
      memory: memory)
    if invocation.has("json") {
      Terminal.writeLine(try result.json(options).text)
    } else {
      Terminal.write(try result.text())
    }
  }
}

struct BenchPlan {
  let promptTokens: Int
  let newTokens: Int
  let repetitions: Int
  /// Of the batch; 0 for none.
  let sequences: Int
  let depth: Int
}

/// Tokens per second of one repetition.
struct BenchRun {
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
