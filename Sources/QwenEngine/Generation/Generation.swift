internal import QwenTensor
internal import QwenText

/// What one request makes of logits: it chooses tokens, turns them into text and knows when to end.
///
/// It evaluates nothing: `wanted` says which tokens come next, whoever drives it evaluates them and says so with
/// `evaluated`, then `choose` takes row after row of the logits.
struct Generation {
  enum State {
    /// Tokens of the prompt are wanted.
    case reading
    /// Row `row` of the logits is at hand.
    case choosing
    /// The chosen token is wanted.
    case waiting
    case finished
  }

  let model: Model
  let conversation: Conversation
  let prompt: [Int32]
  let options: GenerationOptions
  private(set) var state = State.reading
  /// The row of logits that `choose` takes next.
  private(set) var row = 0
  private(set) var result = RunResult()
  private var sampler: Sampler
  private var writer: AnswerWriter
  private var pending: [RunEvent] = []
  private var startSeconds = 0.0
  /// Evaluated tokens that are certain to stay; those behind them are guesses.
  private var committed = 0
  /// The chosen token and the guesses behind it.
  private var step: [Int32] = []
  private var drafter: Drafter?

  /// Prepares the run of a request in a conversation; nothing is evaluated yet. Throws `.context` if the prompt
  /// does not fit.
  init(
    _ model: Model, _ conversation: Conversation, _ request: Request, draft: DraftModel? = nil
  ) throws(EngineError) {
    let prompt = request.prompt
    guard !prompt.isEmpty else {
      throw EngineError(
        .argument, "the prompt has no tokens", hint: "give at least one character")
    }
    let rows = conversation.settings.configuration.vocabularyRows
    if let bad = prompt.first(where: { $0 < 0 || Int($0) >= rows }) {
      throw EngineError(
        .argument, "token \(bad) is outside the vocabulary of \(rows)", key: "prompt_ids")
    }
    self.model = model
    self.conversation = conversation
    self.prompt = prompt
    options = request.options
    drafter = try Drafter(request.options.speculation, draft)
    let most = min(options.maximumNewTokens, conversation.settings.context)
    sampler = Sampler(
      options.sampling, prompt: prompt, usable: model.usableTokens, expected: most)
    writer = AnswerWriter(request, tokenizer: model.tokenizer)
    result.promptTokens = prompt.count
    result.cachedTokens = try conversation.align(to: prompt, answer: options.maximumNewTokens)
    if let shared = model.prefixCache {
      try conversation.adopt(prompt, from: shared)
      result.cachedTokens = conversation.tokens.count
    }
    result.effectiveOptions = options.description
    result.ids.reserveCapacity(most)
    writer.reserve(most)
    if options.sampling.isSampling { result.seed = sampler.seed }
    if options.logprobs != nil { result.logprobs = [] }
    result.replay = Replay.record(model, conversation.settings, request, seed: result.seed)
    startSeconds = monotonicSeconds()
  }

  /// The next event that is ready; nil if there is none.
  mutating func nextEvent() -> RunEvent? { pending.isEmpty ? nil : pending.removeFirst() }

  /// The tokens to evaluate next, `limit` of them at most, and of how many of the last of them the logits are
  /// wanted.
  mutating func wanted(limit: Int) -> (tokens: ArraySlice<Int32>, rows: Int) {
    guard state == .waiting else {
      let done = conversation.tokens.count
      let end = min(prompt.count, done + limit)
      return (prompt[done..<end], end == prompt.count ? 1 : 0)
    }
    let room = min(
      limit - step.count, conversation.settings.context - committed - step.count,
      options.maximumNewTokens - result.ids.count - 1)
    if step.count == 1, room > 0 { drafter?.propose(sampler, most: room, behind: &step) }
    return (step[...], step.count)
  }

  /// Says that the wanted tokens are evaluated.
  mutating func evaluated() {
    guard state == .reading else {
      committed += 1
      row = 0
      state = .choosing
      return
    }
    committed = conversation.tokens.count
    let toRead = max(1, prompt.count - result.cachedTokens)
    pending.append(.progress(Double(committed - result.cachedTokens) / Double(toRead)))
    guard committed == prompt.count else { return }
    result.prefillSeconds = monotonicSeconds() - startSeconds
    startSeconds = monotonicSeconds()
    row = 0
    state = .choosing
    writer.begin(into: &pending)
    if let shared = model.prefixCache { conversation.leave(to: shared) }
  }

  /// Chooses a token from row `row` of the logits, which is changed. `interruption` says that the run is to end.
  mutating func choose(
    _ logits: UnsafeMutableBufferPointer<Float>, interruption: FinishReason?
  ) throws(EngineError) {
    guard result.ids.count < options.maximumNewTokens,
      committed < conversation.settings.context
    else { return finish(.length) }
    if let interruption { return finish(interruption) }
    let scored = unsafe logprobs(UnsafeBufferPointer(logits))
    let isEarly = result.ids.count < options.minimumNewTokens
    guard let id = unsafe sampler.choose(logits, banned: isEarly ? options.stopIDs : []) else {
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
    if let stop = writer.push(id, logprob: entry?.logprob, into: &pending) {
      result.match = .text(stop)
      return finish(.stop)
    }
    if writer.isOver { return finish(.stop) }
    guard result.ids.count < options.maximumNewTokens else { return finish(.length) }
    advance(id)
  }

  /// Goes on behind a chosen token: with the guess that foresaw it, or by having it evaluated.
  private mutating func advance(_ id: Int32) {
    if row + 1 < step.count, step[row + 1] == id {
      row += 1
      committed += 1
      drafter?.accepted += 1
      return
    }
    conversation.truncate(committed)
    step.removeAll(keepingCapacity: true)
    step.append(id)
    state = .waiting
  }

  /// Ends the run: what was said stays, `.done` is the last event.
  mutating func stop(_ reason: FinishReason) {
    pending.removeAll()
    if state != .finished { finish(reason) }
  }

  /// Ends the run without a word.
  mutating func abandon() {
    pending.removeAll()
    state = .finished
  }

  private mutating func finish(_ reason: FinishReason) {
    if state != .reading { conversation.truncate(committed) }
    state = .finished
    if let shared = model.prefixCache { conversation.leave(to: shared) }
    result.reason = reason
    result.decodeSeconds = monotonicSeconds() - startSeconds
    result.speculation = drafter.map { ($0.steps, $0.drafted, $0.accepted) }
    let isStopped = if case .text? = result.match { true } else { false }
    writer.finish(isStopped: isStopped, into: &pending)
    writer.conclude(&result)
    pending.append(.done(result))
  }

  /// Log probabilities of logits, before penalties change them.
  private func logprobs(
    _ logits: UnsafeBufferPointer<Float>
  ) -> ((Int32) -> TokenLogprob)? {
    guard let count = options.logprobs else { return nil }
    let tokenizer = model.tokenizer
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
