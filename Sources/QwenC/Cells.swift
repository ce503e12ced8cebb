internal import CQwen
internal import QwenEngine
internal import Synchronization

/// What a model handle stands for.
final class ModelCell: Sendable {
  let model: Model
  init(_ model: Model) { self.model = model }
}

/// What a session handle stands for: the session, and who is at work in it.
final class SessionCell: @unchecked Sendable {
  let session: Session
  private let busy = Atomic<Bool>(false)
  /// The run that `qwen_begin` started; touched only while `busy` is held.
  var pull: PullRun?

  init(_ session: Session) { self.session = session }

  /// Runs `body` unless another call is at work here.
  func exclusively<R>(_ body: () throws(CallError) -> R) throws(CallError) -> R {
    guard busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
    else { throw CallError.busy }
    defer { busy.store(false, ordering: .releasing) }
    return try body()
  }

  /// The same for calls that may not meet a run of `qwen_begin` that is not over.
  func idle<R>(_ body: () throws(CallError) -> R) throws(CallError) -> R {
    try exclusively { () throws(CallError) in
      if let pull {
        guard pull.isFinished else { throw CallError.busy }
        pull.join()
        self.pull = nil
      }
      return try body()
    }
  }

  /// Cancels whatever runs and waits for the library's own thread.
  func shutDown() {
    session.control.cancel()
    if let pull {
      pull.abandon()
      pull.join()
    }
  }
}

/// One call at a time.
final class Gate: Sendable {
  private let busy = Atomic<Bool>(false)

  /// Runs `body` unless another call is inside.
  func enter<R>(_ noun: String, _ body: () throws(CallError) -> R) throws(CallError) -> R {
    guard busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
    else {
      throw CallError(
        QWEN_ERROR_BUSY, "the \(noun) is at work in another call",
        hint: "wait for it, or open another \(noun)")
    }
    defer { busy.store(false, ordering: .releasing) }
    return try body()
  }
}

/// What a sampler handle stands for.
final class SamplerCell: Sendable {
  let sampler: HostSampler
  private let gate = Gate()

  init(_ sampler: HostSampler) { self.sampler = sampler }

  func exclusively<R>(_ body: () throws(CallError) -> R) throws(CallError) -> R {
    try gate.enter("sampler", body)
  }
}

/// What a batch handle stands for.
final class BatchCell: @unchecked Sendable {
  let batch: Batch
  /// Of the event handed out last; touched only while a step is under way.
  let event = EventBox()
  private let gate = Gate()

  init(_ batch: Batch) { self.batch = batch }

  func exclusively<R>(_ body: () throws(CallError) -> R) throws(CallError) -> R {
    try gate.enter("batch", body)
  }
}

extension CallError {
  static var busy: CallError {
    CallError(
      QWEN_ERROR_BUSY, "the session is at work in another call",
      hint: "wait for it, cancel it, or open another session")
  }
}
