package import QwenFormats
package import QwenTensor
internal import Synchronization

extension OptionTable {
  /// Options of `qwen_batch_open`: those of its conversations, and their number.
  package static let batch = OptionTable(
    section: "batch",
    options: [
      Option(
        "max_sequences", .integer(1...256), default: 8,
        "Requests that are answered at once; more wait for their turn.")
    ] + session.options)
}

/// Many requests of one model answered together, one pass over the weights for all of them.
///
/// Each answer is the one that a session of its own would give, to the bit. `step` serves one thread at a time;
/// `submit` and `cancel` come from any.
package final class Batch: @unchecked Sendable {
  package let model: Model
  package let control = RunControl()
  private let settings: ConversationSettings
  private let evaluator: Evaluator
  private let maximumSequences: Int
  /// Requests at work; only `step` touches them.
  private var active: [Active] = []
  /// Memory of as many conversations as are answered at once.
  private var promises: [MemoryPromise] = []
  private let waiting = Mutex(Waiting())

  /// A request that is at work.
  private struct Active {
    let id: Int64
    var generation: Generation
    /// Nanoseconds on the monotonic clock; nil for none.
    let deadline: Int64?
  }

  private struct Waiting {
    var last: Int64 = 0
    var requests: [(id: Int64, request: Request, deadline: Int64?)] = []
    var cancelled: Set<Int64> = []
    /// Ids that wait or are at work.
    var live: Set<Int64> = []
  }

  /// What a step reports.
  package enum Report {
    case event(RunEvent)
    case failure(EngineError)
  }

  /// `options` is checked. Throws `.memory` if the buffers of a step can't be had.
  package init(_ model: Model, options: JSONObject) throws(EngineError) {
    self.model = model
    settings = ConversationSettings(model, options: options)
    maximumSequences = options["max_sequences"]?.int ?? 8
    for _ in 0..<maximumSequences { promises.append(try MemoryPromise(model, settings)) }
    evaluator = try Evaluator(
      model, settings, maximumTokens: max(settings.chunk, maximumSequences),
      rows: maximumSequences, control: control)
  }

  /// Queues a request and returns its number. Throws `.context` if its prompt can't fit.
  package func submit(_ request: Request) throws(EngineError) -> Int64 {
    var request = request
    request.options.speculation = nil
    // Refused here and not in the middle of a step.
    _ = try Generation(model, try Conversation(settings), request)
    let deadline = request.options.deadlineMilliseconds.map {
      RunControl.now() &+ Int64($0) &* 1_000_000
    }
    return waiting.withLock { waiting in
      waiting.last += 1
      waiting.requests.append((waiting.last, request, deadline))
      waiting.live.insert(waiting.last)
      return waiting.last
    }
  }

  /// Ends a request at the next step: what was said stays. False if it is not live.
  package func cancel(_ id: Int64) -> Bool {
    waiting.withLock { waiting in
      guard waiting.live.contains(id) else { return false }
      waiting.cancelled.insert(id)
      return true
    }
  }

  /// Requests that are not over.
  package var remaining: Int { waiting.withLock { $0.live.count } }

  /// Evaluates one step of every request at work and reports what came of it. `answer` returns what becomes of the
  /// request: true to go on, false to stop it; nil drops it without a result.
  ///
  /// An error that hits the step as a whole is thrown; all requests stay as they were.
  package func step(_ answer: (Int64, Report) -> Bool?) throws(EngineError) {
    let cancelled = waiting.withLock { waiting in
      defer { waiting.cancelled.removeAll() }
      return waiting.cancelled
    }
    admit(answer)
    for index in active.indices {
      if let reason = interruption(active[index], cancelled) {
        active[index].generation.stop(reason)
      }
    }
    try evaluate()
    var logitRow = 0
    for index in active.indices {
      switch active[index].generation.state {
      case .choosing:
        let row = logitRow
        logitRow += 1
        do {
          try evaluator.check(row: row)
          try unsafe active[index].generation.choose(evaluator.row(row), interruption: nil)
        } catch {
          active[index].generation.abandon()
          _ = answer(active[index].id, .failure(error))
        }
      default: break
      }
      report(index, answer)
    }
    let over = active.filter { $0.generation.state == .finished }.map(\.id)
    active.removeAll { $0.generation.state == .finished }
    waiting.withLock { waiting in for id in over { waiting.live.remove(id) } }
  }

  /// Gives free places to the requests that wait.
  private func admit(_ answer: (Int64, Report) -> Bool?) {
    while active.count < maximumSequences {
      let next = waiting.withLock { $0.requests.isEmpty ? nil : $0.requests.removeFirst() }
      guard let next else { return }
      do {
        let generation = try Generation(model, try Conversation(settings), next.request)
        active.append(Active(id: next.id, generation: generation, deadline: next.deadline))
      } catch {
        _ = waiting.withLock { $0.live.remove(next.id) }
        _ = answer(next.id, .failure(error))
      }
    }
  }

  private func interruption(_ entry: Active, _ cancelled: Set<Int64>) -> FinishReason? {
    if cancelled.contains(entry.id) { return .cancelled }
    if let deadline = entry.deadline, RunControl.now() >= deadline { return .deadline }
    return nil
  }

  /// One pass: a token of each answer, and as much of the prompts as fits. Rows of logits come in the order of
  /// `active`.
  private func evaluate() throws(EngineError) {
    var parts: [StepPart] = []
    var chosen: [Int] = []
    let isWaiting = { (entry: Active) in entry.generation.state == .waiting }
    var room = evaluator.maximumTokens - active.count(where: isWaiting)
    for index in active.indices {
      let limit = isWaiting(active[index]) ? 1 : room
      guard active[index].generation.state != .finished, limit > 0 else { continue }
      let (tokens, rows) = active[index].generation.wanted(limit: limit)
      if !isWaiting(active[index]) { room -= tokens.count }
      parts.append(
        StepPart(
          conversation: active[index].generation.conversation, tokens: tokens,
          wantsLogits: rows > 0))
      chosen.append(index)
    }
    guard !parts.isEmpty else { return }
    control.begin(deadlineMilliseconds: nil)
    try evaluator.evaluate(parts)
    for index in chosen { active[index].generation.evaluated() }
  }

  private func report(_ index: Int, _ answer: (Int64, Report) -> Bool?) {
    while let event = active[index].generation.nextEvent() {
      switch answer(active[index].id, .event(event)) {
      case true?: break
      case false?: if case .done = event {} else { active[index].generation.stop(.cancelled) }
      case nil: active[index].generation.abandon()
      }
    }
  }
}
