package import QwenFormats
internal import QwenTensor

extension OptionTable {
  /// Options of `qwen_embed`.
  package static let embed = OptionTable(
    section: "embed",
    options: [
      Option(
        "pooling", .word(["mean", "last"]), default: "mean",
        "What one vector is made of: the mean of the hidden states of all tokens, or that of the last one."
      ),
      Option("normalize", .bool, default: true, "Scales the vector to length 1."),
      Option(
        "special", .wordOrStrings(["none", "all"]), default: "none",
        "Control tokens that are recognised in the text."),
    ])
}

extension Session {
  /// Evaluates `ids` behind what the session holds. On an error of a later part the parts before it stay.
  ///
  /// Throws `.context` if they do not fit.
  package func feed(_ ids: [Int32]) throws(EngineError) {
    fed = nil
    try checkVocabulary(ids)
    guard ids.count <= settings.context - tokens.count else {
      throw EngineError(
        .context, "\(tokens.count) and \(ids.count) tokens in a context of \(settings.context)",
        hint: "rewind the session, or open it with a larger \"context\"")
    }
    control.begin(deadlineMilliseconds: nil)
    conversation.begin(length: tokens.count + ids.count)
    var rest = ids[...]
    while !rest.isEmpty {
      let part = rest.prefix(evaluator.maximumTokens)
      let hidden = try evaluator.evaluate(conversation, part)
      rest = rest.dropFirst(part.count)
      fed = Fed(hidden: hidden, count: ids.count, step: evaluator.stepCount)
    }
  }

  /// Calls `body` with the logits behind token `row` of those fed last, -1 for the last of them.
  ///
  /// Only those of the last step are at hand: the last `prefill_chunk` tokens, as long as nothing else ran.
  package func fedLogits(
    row: Int, _ body: (UnsafeBufferPointer<Float>) -> Void
  ) throws(EngineError) {
    guard let fed, fed.step == evaluator.stepCount else {
      throw EngineError(
        .argument, "there are no logits: the last call on this session was not qwen_session_feed",
        hint: "feed tokens first")
    }
    let index = row < 0 ? fed.count + row : row
    let inStep = index - (fed.count - fed.hidden.tokens)
    guard (0..<fed.count).contains(index) else {
      throw EngineError(.argument, "row \(row) of \(fed.count) tokens that were fed last")
    }
    guard inStep >= 0 else {
      throw EngineError(
        .limit, "row \(row) is further back than the last \(fed.hidden.tokens) tokens",
        hint: "feed fewer tokens at a time, or open the session with a larger \"prefill_chunk\"")
    }
    try evaluator.computeLogits(fed.hidden, first: inStep, count: 1)
    try evaluator.check(row: 0)
    unsafe body(UnsafeBufferPointer(evaluator.row(0)))
  }

  /// What was fed last.
  struct Fed {
    let hidden: Rows
    let count: Int
    /// The step that it was.
    let step: Int
  }

  /// A vector for a text, `hiddenSize` numbers, under checked options of `OptionTable.embed`. The conversation
  /// is replaced by the text.
  package func embed(_ text: String, options: JSONObject) throws(EngineError) -> [Float] {
    let ids = try model.tokenize(
      Array(text.utf8), options: options["special"].map { ["special": $0] } ?? [:])
    guard !ids.isEmpty else {
      throw EngineError(.argument, "the text has no tokens", hint: "give at least one character")
    }
    control.begin(deadlineMilliseconds: nil)
    conversation.truncate(0)
    _ = try conversation.align(to: ids)
    var sum = [Double](repeating: 0, count: settings.configuration.hiddenSize)
    let takesLast = options["pooling"]?.string == "last"
    while tokens.count < ids.count {
      let start = tokens.count
      let part = ids[start..<min(ids.count, start + evaluator.maximumTokens)]
      let hidden = try evaluator.evaluate(conversation, part)
      for token in 0..<part.count where !takesLast || start + token == ids.count - 1 {
        for (index, value) in hidden.slice(token).enumerated() { sum[index] += Double(value) }
      }
    }
    var scale = takesLast ? 1 : 1 / Double(ids.count)
    if options["normalize"]?.bool ?? true {
      let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
      scale = length > 0 ? 1 / length : 0
    }
    let vector = sum.map { Float($0 * scale) }
    guard vector.allSatisfy(\.isFinite) else {
      throw EngineError(.numeric, "the model produced numbers that are not finite")
    }
    return vector
  }

  /// Throws `.argument` for an id the model does not know.
  func checkVocabulary(_ ids: [Int32]) throws(EngineError) {
    let rows = settings.configuration.vocabularyRows
    if let bad = ids.first(where: { $0 < 0 || Int($0) >= rows }) {
      throw EngineError(.argument, "token \(bad) is outside the vocabulary of \(rows)")
    }
  }
}
