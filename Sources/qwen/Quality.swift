import CQwen
import Glibc

extension Subcommand {
  static let quality = Subcommand(
    name: "quality", operands: "MODEL",
    summary: "Measures what storage formats cost: how far each is from the model itself.",
    operandCount: 1...1,
    details: """
      The reference is the model in --reference, computed in float32, over windows of the text that start from an
      empty context. For each format: perplexity, mean Kullback-Leibler divergence from the reference in nats, how
      often the likeliest token is the same, bits of all weights, memory, and tokens written in a second. "auto" is
      the default computation, whose 8-bit activations have a cost of their own; "float32" has none. Files of --files
      are other conversions of the same model, and may come from other programs.
      """,
    options: [
      Option("text", "FILE", "The text; - reads standard input."),
      Option("weights", "A,B,...", "Formats (default stored,q8_0,q4_0)."),
      Option("rounding", "A,B", "Ways to round, plain or best (default plain)."),
      Option("files", "A,B,...", "Files or folders to compare as they are, besides the formats."),
      Option(
        "head", "FORMAT", "Format of the head in all of them (default: as the library chooses)."),
      Option("reference", "FORMAT", "Format of the reference (default stored)."),
      Option("compute", "A,B", "Ways to compute (default auto,float32)."),
      Option("tokens", "T", "Use the first T tokens of the text (default 2048)."),
      Option("window", "N", "Tokens in a window (default 512)."),
      Option("json", nil, "Write the numbers as JSON."),
    ],
    sections: ["open", "session"]
  ) { invocation throws(Failure) in
    guard let file = invocation.value("text") else { throw .usage("--text FILE is needed") }
    let text = try readAll(file)
    func list(_ name: String, _ usual: String) -> [String] {
      (invocation.value(name) ?? usual).split(separator: ",").map(String.init)
    }
    let window = try invocation.integer("window", default: 512, minimum: 2)
    let limit = try invocation.integer("tokens", default: 2048, minimum: 2)
    var bench = try QualityBench(
      path: invocation.operands[0], given: invocation.given, window: window)
    let computes = list("compute", "auto,float32")
    var candidates: [Candidate] = []
    for weights in list("weights", "stored,q8_0,q4_0") {
      for rounding in weights == "stored" ? [""] : list("rounding", "plain") {
        candidates.append(
          Candidate(weights: weights, rounding: rounding, head: invocation.value("head")))
      }
    }
    candidates += list("files", "").map { Candidate(file: $0) }
    // A slip in the last of them is told before the first is measured.
    for candidate in candidates {
      for compute in computes { try bench.check(candidate, compute: compute) }
    }
    try bench.makeReference(
      text, limit: limit, weights: invocation.value("reference") ?? "stored")
    var rows: [QualityRow] = []
    for candidate in candidates {
      for compute in computes {
        rows.append(try bench.measure(candidate, compute: compute))
        Terminal.writeError("\(rows[rows.count - 1].text)\n")
      }
    }
    if invocation.has("json") {
      let facts: [(key: String, value: JSON)] = [
        ("tokens", .number(bench.positions)), ("window", .number(window)),
        ("reference", .string(invocation.value("reference") ?? "stored")),
        ("reference_perplexity", .number(bench.referencePerplexity)),
        ("rows", .array(rows.map(\.json))),
      ]
      Terminal.writeLine(JSON.object(facts).text)
    } else {
      Terminal.writeLine(
        "reference perplexity \(decimal(bench.referencePerplexity, 4)) over \(bench.positions) "
          + "tokens in windows of \(window)")
      Terminal.writeLine(QualityRow.heading)
      for row in rows { Terminal.writeLine(row.text) }
    }
  }
}

/// What is compared: a format that the model is brought into, or a file as it is.
private struct Candidate {
  var weights = "stored"
  var rounding = ""
  var head: String?
  var file: String?

  /// As the table names it.
  var name: String {
    guard let file else { return weights }
    return file.split(separator: "/").last.map(String.init) ?? file
  }
}

/// One format computed one way.
private struct QualityRow {
  let weights: String
  let rounding: String
  let compute: String
  let bits: Double
  let layerBits: Double
  let weightBytes: Int
  let perplexity: Double
  let divergence: Double
  let agreement: Double
  let residentBytes: Int
  let tokensPerSecond: Double

  static let heading =
    "| weights | rounding | compute | bits, layers | bits, all | perplexity | KL | same top-1 | RSS, MB | tokens/s |\n"
    + "|---|---|---|---|---|---|---|---|---|---|"

  var text: String {
    let cells = [
      weights, rounding, compute, decimal(layerBits, 2), decimal(bits, 2), decimal(perplexity, 4),
      decimal(divergence, 5), decimal(agreement * 100, 2) + " %",
      decimal(Double(residentBytes) / 1e6, 0), decimal(tokensPerSecond, 1),
    ]
    return "| " + cells.joined(separator: " | ") + " |"
  }

  var json: JSON {
    .object([
      ("weights", .string(weights)), ("rounding", .string(rounding)), ("compute", .string(compute)),
      ("bits_per_weight", .number(bits)), ("layer_bits_per_weight", .number(layerBits)),
      ("weight_bytes", .number(weightBytes)), ("perplexity", .number(perplexity)),
      ("mean_kl", .number(divergence)), ("top1_agreement", .number(agreement)),
      ("rss_bytes", .number(residentBytes)), ("tokens_per_second", .number(tokensPerSecond)),
    ])
  }
}

/// The reference's logits, kept in a file without a name, and what formats are compared by.
private struct QualityBench: ~Copyable {
  private let path: UnsafePointer<CChar>
  private let given: GivenOptions
  private let window: Int
  private let file: Int32
  private var ids: [Int32] = []
  private var columns = 0
  private(set) var referencePerplexity = 0.0
  /// Tokens that are predicted.
  private(set) var positions = 0

  /// Positions evaluated and compared at once.
  private static let step = 128

  init(path: UnsafePointer<CChar>, given: GivenOptions, window: Int) throws(Failure) {
    (self.path, self.given, self.window) = (path, given, window)
    guard let stream = tmpfile() else { throw .general("no temporary file can be made") }
    file = dup(fileno(stream))
    fclose(stream)
  }

  deinit { close(file) }

  private func options(_ changes: [(String, String?)]) -> JSON {
    var given = given
    for (key, value) in changes where value != nil {
      given.set("open", key, to: .string(value ?? ""))
    }
    return given["open"]
  }

  private func session(_ model: borrowing Model) throws(Failure) -> Session {
    var given = given
    if given.value("session", "context") == nil {
      given.set("session", "context", to: .number(max(window, 128)))
    }
    return try Session(model: model, options: given["session"])
  }

  /// Evaluates the reference and keeps its logits.
  mutating func makeReference(_ text: [UInt8], limit: Int, weights: String) throws(Failure) {
    let model = try Model(
      path: path, options: options([("weights", weights), ("compute", "float32")]))
    ids = Array(try model.tokenize(text).prefix(limit))
    guard ids.count >= 2 else { throw .general("the text has \(ids.count) tokens; 2 are needed") }
    columns = try readAnswer(try model.info())["vocab_size"]?.int ?? 0
    let session = try session(model)
    var (loss, count, offset) = (0.0, 0, 0)
    let (file, columns) = (file, columns)
    try forEachRow(session) { logits, target throws(Failure) in
      loss -= Double(logits[target]) - logSumExp(logits)
      count += 1
      let size = columns * 4
      guard pwrite(file, logits.baseAddress, size, off_t(offset)) == size else {
        throw .general("the temporary file can't hold the reference; use fewer --tokens")
      }
      offset += size
    }
    positions = count
    referencePerplexity = exp(loss / Double(max(1, count)))
  }

  /// Compares one candidate, computed one way, with the reference.
  func measure(_ candidate: Candidate, compute: String) throws(Failure) -> QualityRow {
    let model = try open(candidate, compute)
    let width = try readAnswer(try model.info())["vocab_size"]?.int ?? 0
    guard width == columns else {
      throw .general(
        "\(candidate.name) has a vocabulary of \(width), the reference one of \(columns)")
    }
    let session = try session(model)
    var (loss, divergence, same, offset) = (0.0, 0.0, 0, 0)
    var reference = [Float](repeating: 0, count: columns)
    let file = file
    try forEachRow(session) { logits, target throws(Failure) in
      let size = logits.count * 4
      let got = reference.withUnsafeMutableBytes {
        pread(file, $0.baseAddress, size, off_t(offset))
      }
      guard got == size else { throw .general("the temporary file can't be read") }
      offset += size
      let row = reference.withUnsafeBufferPointer { compare($0, logits) }
      loss -= Double(logits[target]) - row.total
      divergence += row.divergence
      if row.isSame { same += 1 }
    }
    let facts = try readAnswer(try model.info())
    var (bytes, elements, layerBytes, layerElements) = (0.0, 0.0, 0.0, 0.0)
    for part in facts["parts"]?.array ?? [] {
      let (size, bits) = (part["bytes"]?.double ?? 0, part["bits_per_weight"]?.double ?? 1)
      bytes += size
      elements += size * 8 / bits
      if part["part"]?.string == "layers" {
        layerBytes += size
        layerElements += size * 8 / bits
      }
    }
    let speed = try speed(session)
    return QualityRow(
      weights: candidate.name, rounding: candidate.rounding, compute: compute,
      bits: bytes * 8 / max(1, elements),
      layerBits: layerBytes * 8 / max(1, layerElements), weightBytes: Int(bytes),
      perplexity: exp(loss / Double(max(1, positions))),
      divergence: divergence / Double(max(1, positions)),
      agreement: Double(same) / Double(max(1, positions)),
      residentBytes: procBytes(in: "/proc/self/status", of: "VmRSS:"), tokensPerSecond: speed)
  }

  /// Opens no more than headers: whether there is such a candidate, and such options.
  func check(_ candidate: Candidate, compute: String) throws(Failure) {
    let settings = openOptions(candidate, compute).text
    _ = try takeText { qwen_model_plan(candidate.file ?? String(cString: path), settings, $0) }
  }

  private func open(_ candidate: Candidate, _ compute: String) throws(Failure) -> Model {
    guard let file = candidate.file else {
      return try Model(path: path, options: openOptions(candidate, compute))
    }
    guard let path = strdup(file) else { throw .general("there is no memory for a name") }
    defer { free(path) }
    return try Model(path: path, options: openOptions(candidate, compute))
  }

  private func openOptions(_ candidate: Candidate, _ compute: String) -> JSON {
    if candidate.file != nil { return options([("compute", compute)]) }
    return options([
      ("weights", candidate.weights), ("head", candidate.head), ("compute", compute),
      ("rounding", candidate.rounding.isEmpty ? nil : candidate.rounding),
    ])
  }

  /// The logits of each position that predicts a token of the text, and that token.
  private func forEachRow(
    _ session: borrowing Session,
    _ body: (UnsafeBufferPointer<Float>, Int) throws(Failure) -> Void
  ) throws(Failure) {
    var rows = [Float](repeating: 0, count: Self.step * columns)
    var start = 0
    while ids.count - start >= 2 {
      let end = min(start + window, ids.count)
      try session.reset()
      var first = start
      while first < end - 1 {
        let last = min(first + Self.step, end - 1)
        try session.logits(ids[start..<last], from: first - start, into: &rows)
        for position in first..<last {
          let from = (position - first) * columns
          var failure: Failure?
          rows.withUnsafeBufferPointer { all in
            let row = UnsafeBufferPointer(rebasing: all[from..<from + columns])
            do throws(Failure) { try body(row, Int(ids[position + 1])) } catch { failure = error }
          }
          if let failure { throw failure }
        }
        first = last
      }
      start = end
      Terminal.showProgress("\(start) of \(ids.count) tokens")
    }
    Terminal.clearProgress()
  }

  /// Tokens written in a second after a short prompt.
  private func speed(_ session: borrowing Session) throws(Failure) -> Double {
    try session.reset()
    let request = JSON.object([
      ("prompt_ids", .array(ids.prefix(32).map { .number(Int($0)) })), ("do_sample", .bool(false)),
      ("max_new_tokens", .number(32)), ("min_new_tokens", .number(32)),
    ])
    let result = try session.generate([], options: request, printer: Printer(isStreaming: false))
    return result["timings"]?["decode_tokens_per_second"]?.double ?? 0
  }
}

/// ln of the sum of exponentials, in double.
private func logSumExp(_ logits: UnsafeBufferPointer<Float>) -> Double {
  var largest = -Float.infinity
  for value in logits where value > largest { largest = value }
  var sum = 0.0
  for value in logits { sum += exp(Double(value - largest)) }
  return Double(largest) + log(sum)
}

/// Divergence of the candidate's distribution from the reference's, whether both have the same best token, and the
/// candidate's ln of the sum of exponentials.
private func compare(
  _ reference: UnsafeBufferPointer<Float>, _ candidate: UnsafeBufferPointer<Float>
) -> (divergence: Double, isSame: Bool, total: Double) {
  let (left, right) = (logSumExp(reference), logSumExp(candidate))
  var (sum, best, other) = (0.0, 0, 0)
  for index in 0..<reference.count {
    let log = Double(reference[index]) - left
    if log > -40 { sum += exp(log) * (log - (Double(candidate[index]) - right)) }
    if reference[index] > reference[best] { best = index }
    if candidate[index] > candidate[other] { other = index }
  }
  return (sum, best == other, right)
}
