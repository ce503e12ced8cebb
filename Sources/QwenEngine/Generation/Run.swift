internal import QwenFormats
internal import QwenTensor
internal import QwenText

/// One generation, pulled event by event: it advances only while someone asks for the next event.
package struct Run {
  private enum State { case prefill, decode, finished }

  let session: Session
  let prompt: [Int32]
  let options: GenerationOptions
  private var state = State.prefill
  private var sampler: Sampler
  private var decoder: StreamingDecoder
  private var filter: StopFilter
  private var result = RunResult()
  private var pending: [RunEvent] = []
  private var startSeconds = 0.0
  /// Pairs of the conversation before this turn; nil for plain text.
  private let history: [[String]]?
  private let query: String?

  /// Prepares a run of `prompt`; nothing is evaluated yet. Throws `.context` if the prompt does not fit.
  package init(
    _ session: Session, prompt: [Int32], options: GenerationOptions, history: [[String]]? = nil,
    query: String? = nil
  ) throws(EngineError) {
    guard !prompt.isEmpty else {
      throw EngineError(
        .argument, "the prompt has no tokens", hint: "give at least one character")
    }
    let rows = session.model.configuration.vocabularyRows
    if let bad = prompt.first(where: { $0 < 0 || Int($0) >= rows }) {
      throw EngineError(
        .argument, "token \(bad) is outside the vocabulary of \(rows)", key: "prompt_ids")
    }
    self.session = session
    self.prompt = prompt
    self.options = options
    self.history = history
    self.query = query
    session.control.begin(deadlineMilliseconds: options.deadlineMilliseconds)
    let tokenizer = session.model.tokenizer
    sampler = Sampler(options.sampling, prompt: prompt, usable: session.model.usableTokens)
    decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: options.skipSpecial)
    filter = StopFilter(stops: options.stop)
    result.promptTokens = prompt.count
    result.cachedTokens = try session.align(to: prompt, answer: options.maximumNewTokens)
    result.effectiveOptions = options.description
    if options.sampling.isSampling { result.seed = sampler.seed }
    if options.logprobs != nil { result.logprobs = [] }
    startSeconds = monotonicSeconds()
  }

  /// The next event; nil after `.done`. An error ends the run.
  package mutating func next() throws(EngineError) -> RunEvent? {
    while pending.isEmpty {
      switch state {
      case .finished: return nil
      case .prefill: try prefill()
      case .decode: try decode()
      }
    }
    return pending.removeFirst()
  }

  /// Ends the run as the caller wishes: what was said stays, `.done` is the next event but one at most.
  package mutating func stop() {
    pending.removeAll()
    if state != .finished { finish(.cancelled) }
  }

  /// Ends the run and takes it back: the session keeps only what it shares with the prompt.
  package mutating func undo() {
    state = .finished
    session.truncate(min(session.tokens.count, result.cachedTokens))
  }

  private mutating func prefill() throws(EngineError) {
    let done = session.tokens.count
    let end = min(prompt.count, done + session.chunk)
    let hidden = try session.evaluate(prompt[done..<end])
    pending.append(
      .progress(
        Double(end - result.cachedTokens) / Double(max(1, prompt.count - result.cachedTokens))))
    guard end == prompt.count else { return }
    try session.computeLogits(hidden, row: hidden.tokens - 1)
    result.prefillSeconds = monotonicSeconds() - startSeconds
    startSeconds = monotonicSeconds()
    state = .decode
  }

  /// Chooses a token from the logits at hand, then evaluates it if another is wanted.
  private mutating func decode() throws(EngineError) {
    guard result.ids.count < options.maximumNewTokens, session.tokens.count < session.context
    else { return finish(.length) }
    if session.control.shouldStop { return finish(stopReason) }
    let scored = logprobs()
    let isEarly = result.ids.count < options.minimumNewTokens
    let logits = unsafe UnsafeMutableBufferPointer(
      start: session.logits.pointer, count: session.logits.count)
    guard
      let id = unsafe sampler.choose(logits, banned: isEarly ? options.stopIDs : [])
    else {
      throw EngineError(.numeric, "no token has a probability", hint: "check the penalties")
    }
    if options.stopIDs.contains(id) {
      result.match = .token(id)
      return finish(.stop)
    }
    sampler.accept(id)
    result.ids.append(id)
    let entry = scored?(id)
    if let entry { result.logprobs?.append(entry) }
    let (text, match) = filter.push(decoder.push(id))
    result.text += text
    if !text.isEmpty || entry != nil {
      pending.append(.text(text, id: id, logprob: entry?.logprob ?? 0))
    }
    if let match {
      result.match = .text(options.stop[match])
      return finish(.stop)
    }
    guard result.ids.count < options.maximumNewTokens else { return finish(.length) }
    do {
      let hidden = try session.evaluate([id])
      try session.computeLogits(hidden, row: 0)
    } catch {
      guard error.kind == .cancelled || error.kind == .deadline else { throw error }
      finish(stopReason)
    }
  }

  private var stopReason: FinishReason {
    do {
      try session.control.check()
    } catch {
      return error == .deadline ? .deadline : .cancelled
    }
    return .cancelled
  }

  private mutating func finish(_ reason: FinishReason) {
    state = .finished
    result.reason = reason
    result.decodeSeconds = monotonicSeconds() - startSeconds
    if case .text? = result.match {
    } else {
      let (text, _) = filter.push(decoder.finish())
      let rest = text + filter.finish()
      result.text += rest
      if !rest.isEmpty { pending.append(.text(rest, id: -1, logprob: 0)) }
    }
    if let history, let query { result.history = history + [[query, result.text]] }
    pending.append(.done(result))
  }

  /// Log probabilities of the logits at hand, before penalties change them.
  private func logprobs() -> ((Int32) -> TokenLogprob)? {
    guard let count = options.logprobs else { return nil }
    let tokenizer = session.model.tokenizer
    let logits = unsafe UnsafeBufferPointer(
      start: session.logits.pointer, count: session.logits.count)
    let total = unsafe LogitRow.logSumExp(logits)
    let values = unsafe Array(logits)
    var best: [Int] = []
    if count > 0 {
      best = Array(
        values.indices.sorted { values[$0] > values[$1] || (values[$0] == values[$1] && $0 < $1) }
          .prefix(count))
    }
    func logprob(_ id: Int) -> Float { Float(Double(values[id]) - total) }
    return { id in
      TokenLogprob(
        id: id, text: tokenizer.text([id]), logprob: logprob(Int(id)),
        top: best.map {
          let id = Int32(truncatingIfNeeded: $0)
          return (id, tokenizer.text([id]), logprob($0))
        })
    }
  }
}

extension Run {
  /// Prepares the run of a request.
  package init(_ session: Session, _ request: Request) throws(EngineError) {
    try self.init(
      session, prompt: request.prompt, options: request.options, history: request.history,
      query: request.query)
  }
}
