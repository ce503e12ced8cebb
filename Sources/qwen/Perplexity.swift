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
      Option("context", "N", "Tokens in a window (default 512)."),
      Option("windows", "K", "Stop after K windows (default: all)."),
      Option("json", nil, "Write the numbers as JSON."),
    ],
    sections: ["open", "session"]
  ) { invocation throws(Failure) in
    let window = try invocation.integer("context", default: 512, minimum: 2)
    let limit = try invocation.integer("windows", default: Int.max, minimum: 1)
    let text = try readAll(invocation.operands[1])
    let model = try Model(path: invocation.operands[0], options: invocation.given["open"])
    let ids = try model.tokenize(text)
    guard ids.count >= 2 else {
      throw .general("the text has \(ids.count) tokens; at least 2 are needed to score one")
    }
    var options = invocation.given
    options.set("session", "context", to: .number(window))
    let session = try Session(model: model, options: options["session"])
    let scores = try scoreWindows(session, ids, window: window, limit: limit)

    if invocation.has("json") {
      Terminal.writeLine(
        JSON.object([
          ("perplexity", .number(scores.perplexity)),
          ("standard_error", .number(scores.standardError)),
          ("tokens", .number(ids.count)), ("scored_tokens", .number(scores.count)),
          ("windows", .number(scores.windows)), ("context", .number(window)),
        ]).text)
    } else {
      Terminal.writeLine(
        "perplexity \(decimal(scores.perplexity, 4)) +/- \(decimal(scores.standardError, 4)) over "
          + "\(scores.count) tokens in \(scores.windows) windows of \(window)")
    }
  }
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
