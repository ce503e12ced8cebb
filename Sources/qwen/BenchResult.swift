import CQwen

/// What a bench has measured, and on what.
struct BenchResult {
  let plan: BenchPlan
  let runs: [BenchRun]
  /// Tokens per second of each repetition with a batch.
  let batch: [Double]
  let loadSeconds: Double
  /// The library's facts about the model.
  let facts: JSON
  let memory: ReadBandwidth

  private var threads: Int { facts["threads"]?.int ?? 1 }
  private var prefill: [Double] { runs.map(\.prefill).sorted() }
  private var decode: [Double] { runs.map(\.decode).sorted() }
  private var reads: [Double] { memory.runs.sorted() }
  /// Bytes of weights that a token reads.
  private var weightBytes: Double { facts["memory"]?["weight_bytes_per_token"]?.double ?? 0 }
  /// Of the rate at which memory is read, as much as the weights of written tokens are; nil if that was not measured.
  private var fraction: Double? {
    reads.isEmpty ? nil : weightBytes * median(decode) / median(reads)
  }
  // What the measurement of memory takes was there from the beginning.
  private var resident: Int { procBytes(in: "/proc/self/status", of: "VmRSS:") - memory.byteCount }
  private var peak: Int { procBytes(in: "/proc/self/status", of: "VmHWM:") - memory.byteCount }

  private func instructionSet() throws(Failure) -> String {
    try readAnswer(try takeText { qwen_describe("cpu", $0) })["instruction_set"]?.string ?? ""
  }

  func text() throws(Failure) -> String {
    var stream = "\(decimal(weightBytes * 1e-9, 3)) GB of weights a token"
    if let fraction {
      stream +=
        ": \(decimal(weightBytes * median(decode) * 1e-9, 1)) GB/s, \(decimal(fraction, 2)) of the "
        + "\(decimal(median(reads) * 1e-9, 1)) GB/s that memory is read at"
    }
    let together =
      batch.isEmpty
      ? "" : "batch    \(spread(batch.sorted())) tokens/s, \(plan.sequences) answers at once\n"
    return """
      machine  \(processorName()), \(try instructionSet()), \(threads) \(threads == 1 ? "thread" : "threads")
      load     \(decimal(loadSeconds, 2)) s
      reading  \(spread(prefill)) tokens/s, \(plan.promptTokens) tokens
      saying   \(spread(decode)) tokens/s, \(plan.newTokens) tokens
      stream   \(stream)
      \(together)memory   \(readableSize(Double(resident))) now, \(readableSize(Double(peak))) at most

      """
  }

  func json(_ options: GivenOptions) throws(Failure) -> JSON {
    func rates(_ sorted: [Double]) -> JSON { .array(sorted.map { .number($0) }) }
    return JSON.object([
      ("version", .string(String(cString: qwen_version()))), ("machine", .string(processorName())),
      ("instruction_set", .string(try instructionSet())), ("threads", .number(threads)),
      ("prompt_tokens", .number(plan.promptTokens)), ("generated_tokens", .number(plan.newTokens)),
      ("repetitions", .number(plan.repetitions)), ("depth", .number(plan.depth)),
      ("open", options["open"]), ("session", options["session"]),
      ("prefill_tokens_per_second", .number(median(prefill))),
      ("decode_tokens_per_second", .number(median(decode))),
      ("prefill_runs", rates(prefill)), ("decode_runs", rates(decode)),
      ("weight_bytes_per_token", .number(Int(weightBytes))),
      ("read_bytes_per_second", reads.isEmpty ? .null : .number(median(reads))),
      ("read_runs", rates(reads)), ("decode_to_read", fraction.map { .number($0) } ?? .null),
      ("batch_sequences", .number(plan.sequences)),
      (
        "batch_decode_tokens_per_second",
        batch.isEmpty ? .null : .number(median(batch.sorted()))
      ),
      ("load_seconds", .number(loadSeconds)), ("rss_bytes", .number(resident)),
      ("peak_rss_bytes", .number(peak)),
    ])
  }
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
