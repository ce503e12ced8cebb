import CQwen
import Glibc

extension Subcommand {
  static let perplexity = Subcommand(
    name: "perplexity", operands: "MODEL FILE",
    summary: "Measures how well a model predicts a text.",
    operandCount: 2...2,
    details: """
      The text is cut into windows of N tokens that do not overlap; each starts from an empty context
      and its first token is not scored. Lower is better. FILE "-" reads standard input.
      """,
    options: [
      Option("context", "N,...", "Tokens in a window, or several such lengths (default 512)."),
      Option("tokens", "T", "Use the first T tokens of the text only."),
      Option("windows", "K", "Stop after K windows (default: all)."),
      Option(
        "table", nil,
        "A row each for the plain model, with dynamic NTK, with LogN too, with graded windows too."),
      Option("json", nil, "Write the numbers as JSON."),
    ],
    sections: ["open", "session"]
  ) { invocation throws(Failure) in
    let lengths = try contexts(invocation.value("context") ?? "512")
    let limit = try invocation.integer("windows", default: Int.max, minimum: 1)
    let text = try readAll(invocation.operands[1])
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    var ids = try model.tokenize(text)
    ids = Array(ids.prefix(try invocation.integer("tokens", default: ids.count, minimum: 2)))
    guard ids.count >= 2 else {
      throw .general("the text has \(ids.count) tokens; at least 2 are needed to score one")
    }
    var rows: [(name: String, scores: [Scores])] = []
    // Within the trained length none of the rules does anything: one row's cells are every row's.
    let trained = try readAnswer(try model.info())["trained_context"]?.int ?? 0
    for (name, changes) in invocation.has("table") ? variants : [("", [])] {
      var scores: [Scores] = []
      for (column, window) in lengths.enumerated() {
        if let first = rows.first, window <= trained {
          scores.append(first.scores[column])
          continue
        }
        var options = invocation.given
        for (key, value) in changes { options.set("session", key, to: value) }
        options.set("session", "context", to: .number(window))
        let session = try Session(model: model, options: options["session"])
        scores.append(try scoreWindows(session, ids, window: window, limit: limit))
      }
      rows.append((name, scores))
    }

    let single = lengths.count == 1 && rows.count == 1
    if invocation.has("json") {
      let objects = rows.map { row in
        zip(lengths, row.scores).map { facts($1, tokens: ids.count, window: $0) }
      }
      if single {
        Terminal.writeLine(JSON.object(objects[0][0]).text)
      } else {
        let entries = zip(rows, objects).map { row, cells in
          JSON.object([("row", .string(row.name)), ("cells", .array(cells.map { .object($0) }))])
        }
        Terminal.writeLine(JSON.object([("rows", .array(entries))]).text)
      }
    } else if single {
      let scores = rows[0].scores[0]
      Terminal.writeLine(
        "perplexity \(decimal(scores.perplexity, 4)) +/- \(decimal(scores.standardError, 4)) over "
          + "\(scores.count) tokens in \(scores.windows) windows of \(lengths[0])")
    } else {
      Terminal.writeLine("| | " + lengths.map(String.init).joined(separator: " | ") + " |")
      Terminal.writeLine("|---|" + lengths.map { _ in "---|" }.joined())
      for row in rows {
        let cells = row.scores.map { decimal($0.perplexity, 2) }
        Terminal.writeLine("| \(row.name) | " + cells.joined(separator: " | ") + " |")
      }
    }
  }
}

/// The rows of the release's table: each adds to the one before.
private var variants: [(String, [(String, JSON)])] {
  [
    ("plain", [("ntk", .string("off")), ("logn", .bool(false)), ("window", .string("off"))]),
    (
      "+ dynamic_ntk",
      [("ntk", .string("reference")), ("logn", .bool(false)), ("window", .string("off"))]
    ),
    ("+ logn", [("ntk", .string("reference")), ("logn", .bool(true)), ("window", .string("off"))]),
    (
      "+ window_attn",
      [("ntk", .string("reference")), ("logn", .bool(true)), ("window", .string("graded"))]
    ),
  ]
}

/// Lengths as typed, with commas between them.
private func contexts(_ text: String) throws(Failure) -> [Int] {
  var lengths: [Int] = []
  for part in text.split(separator: ",", omittingEmptySubsequences: false) {
    guard let length = Int(part), length >= 2 else {
      throw .usage("--context \(text): expected whole numbers of at least 2 with commas between")
    }
    lengths.append(length)
  }
  return lengths
}

private func facts(_ scores: Scores, tokens: Int, window: Int) -> [(key: String, value: JSON)] {
  [
    ("perplexity", .number(scores.perplexity)),
    ("standard_error", .number(scores.standardError)),
    ("tokens", .number(tokens)), ("scored_tokens", .number(scores.count)),
    ("windows", .number(scores.windows)), ("context", .number(window)),
  ]
}

/// Sums over scored tokens.
private struct Scores {
  var count = 0
  var windows = 0
  /// Of -log p and of its square.
  var sum = 0.0
  var squares = 0.0

  var perplexity: Double { exp(sum / Double(count)) }

  /// Standard error of the mean of -log p, carried over to the perplexity.
  var standardError: Double {
    guard count > 1 else { return 0 }
    let mean = sum / Double(count)
    let variance = max(0, squares / Double(count) - mean * mean)
    return perplexity * (variance / Double(count - 1)).squareRoot()
  }
}

private func scoreWindows(
  _ session: borrowing Session, _ ids: [Int32], window: Int, limit: Int
) throws(Failure) -> Scores {
  var scores = Scores()
  var start = 0
  let total = min((ids.count + window - 1) / window, limit)
  let began = monotonicSeconds()
  var reported = began
  // A single token at the end has nothing to be scored from.
  while ids.count - start >= 2 && scores.windows < limit {
    let end = start + min(window, ids.count - start)
    try session.reset()
    for value in try session.score(ids[start..<end]) {
      let loss = -Double(value)
      scores.count += 1
      scores.sum += loss
      scores.squares += loss * loss
    }
    scores.windows += 1
    start = end
    let now = monotonicSeconds()
    let line =
      "window \(scores.windows) of \(total), perplexity \(decimal(scores.perplexity, 4)), "
      + "\(decimal(Double(start) / (now - began), 0)) tokens/s"
    Terminal.showProgress(line)
    // A log file gets a line now and then instead of a line that moves.
    if !Terminal.errorIsTerminal && now - reported > 10 {
      reported = now
      Terminal.writeError(line + "\n")
    }
  }
  Terminal.clearProgress()
  return scores
}
