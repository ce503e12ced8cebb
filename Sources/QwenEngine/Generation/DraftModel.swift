internal import QwenTensor

/// A smaller model with the same vocabulary that guesses for a session, in a session of its own.
///
/// Belongs to one session and is used by its runs.
final class DraftModel: Sendable {
  private let session: Session

  /// Throws `.unsupported` if the vocabularies differ.
  init(_ draft: Model, for target: Session) throws(EngineError) {
    let (own, other) = (draft.tokenizer.fingerprint, target.model.tokenizer.fingerprint)
    guard own == other else {
      throw EngineError(
        .unsupported, "the draft model has another vocabulary than the session's model",
        hint: "use a smaller model of the same family and generation")
    }
    let settings = ConversationSettings(
      draft, options: ["context": .integer(target.settings.context)])
    let promise = try MemoryPromise(draft, settings)
    session = try Session(draft, settings, try Conversation(settings), target.control, promise)
  }

  /// Appends up to `count` guesses behind the tokens of `sampler`.
  ///
  /// It draws as the run will: with the same options and the same random numbers, so that both choose alike
  /// wherever the two models agree.
  func propose(_ sampler: Sampler, count: Int, into step: inout [Int32]) {
    var sampler = sampler
    let usable = session.model.usableTokens
    do {
      guard sampler.tokens.allSatisfy({ Int($0) < usable }) else { return }
      let tokens = sampler.tokens
      _ = try session.conversation.align(to: tokens)
      var next = tokens[session.tokens.count...]
      for _ in 0..<count {
        var row = 0
        while !next.isEmpty {
          let part = next.prefix(session.evaluator.maximumTokens)
          let hidden = try session.evaluator.evaluate(session.conversation, part)
          next = next.dropFirst(part.count)
          row = part.count - 1
          if next.isEmpty { try session.evaluator.computeLogits(hidden, first: row, count: 1) }
        }
        try session.evaluator.check(row: 0)
        let logits = unsafe session.evaluator.row(0)
        guard let id = unsafe sampler.choose(logits, banned: []), Int(id) < usable else { return }
        step.append(id)
        sampler.accept(id)
        next = [id]
        guard session.tokens.count < session.settings.context else { return }
      }
    } catch {
      // Without a guess the run goes on as it would have; a cancel or a deadline it sees itself.
    }
  }
}
