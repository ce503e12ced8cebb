internal import QwenTensor

/// One generation in a session, pulled event by event: it advances only while someone asks for the next event.
package struct Run {
  private let session: Session
  private var generation: Generation
  /// What the session held before, if the run may be taken back.
  private let before: Conversation.Snapshot?

  /// Prepares the run of a request; nothing is evaluated yet. Throws `.context` if the prompt does not fit.
  ///
  /// With `keepsPast` the run can be undone; what the session held stays in memory until it is over.
  package init(
    _ session: Session, _ request: Request, keepsPast: Bool = false
  ) throws(EngineError) {
    self.session = session
    before = keepsPast ? session.conversation.snapshot : nil
    session.control.begin(deadlineMilliseconds: request.options.deadlineMilliseconds)
    generation = try Generation(
      session.model, session.conversation, request, draft: session.draft)
  }

  /// The next event; nil after `.done`. An error ends the run.
  package mutating func next() throws(EngineError) -> RunEvent? {
    while true {
      if let event = generation.nextEvent() { return event }
      switch generation.state {
      case .finished: return nil
      case .choosing: try choose()
      case .reading, .waiting: try evaluate()
      }
    }
  }

  /// Ends the run as the caller wishes: what was said stays, `.done` is the next event but one at most.
  package mutating func stop() { generation.stop(.cancelled) }

  /// Ends the run and takes it back: the session is as it was before.
  package mutating func undo() throws(EngineError) {
    generation.abandon()
    if let before { try session.conversation.restore(before) }
  }

  private mutating func choose() throws(EngineError) {
    try session.evaluator.check(row: generation.row)
    try unsafe generation.choose(
      session.evaluator.row(generation.row), interruption: interruption)
  }

  private mutating func evaluate() throws(EngineError) {
    let isReading = generation.state == .reading
    let evaluator = session.evaluator
    do {
      let (tokens, rows) = generation.wanted(limit: evaluator.maximumTokens)
      let hidden = try evaluator.evaluate(session.conversation, tokens)
      if rows > 0 {
        try evaluator.computeLogits(hidden, first: tokens.count - rows, count: rows)
      }
    } catch {
      guard !isReading, error.kind == .cancelled || error.kind == .deadline else { throw error }
      return generation.stop(interruption ?? .cancelled)
    }
    generation.evaluated()
  }

  /// Why the run is to end now; nil if it is not.
  private var interruption: FinishReason? {
    guard session.control.shouldStop else { return nil }
    do {
      try session.control.check()
    } catch { return error == .deadline ? .deadline : .cancelled }
    return .cancelled
  }
}
