internal import QwenFormats
internal import QwenModel
internal import QwenTensor
private import Synchronization

/// What a session of a model takes in memory, by its options; nothing is allocated.
struct SessionPlan {
  /// Tokens that the conversation may have.
  let context: Int
  /// Tokens evaluated in one step.
  let chunk: Int
  let element: KVShape.Element
  /// Activations of a step, and the logits.
  let workspaceBytes: Int
  let shape: KVShape

  /// `options` is checked.
  init(_ c: ModelConfiguration, options: JSONObject, settings: OpenSettings) {
    context = options["context"]?.int ?? min(c.contextLength, SessionPlan.defaultContext)
    chunk = options["prefill_chunk"]?.int ?? 128
    element = options["kv_cache"]?.string.flatMap(KVShape.Element.init) ?? .f16
    shape = c.kvShape(element)
    workspaceBytes =
      Workspace.byteCount(
        c, maximumTokens: min(chunk, context), threads: settings.threads,
        roundsToBFloat: settings.roundsToBFloat)
      + c.vocabularyRows * 4
  }

  /// Longest context that is taken where nobody asks.
  static let defaultContext = 8192

  /// Bytes of keys and values for `context` tokens, in whole pages; as large as possible if that is beyond any
  /// memory.
  func cacheBytes(_ context: Int) -> Int {
    let pages = (context + KVShape.pagePositions - 1) / KVShape.pagePositions
    return checkedProduct(pages, shape.pageBytes) ?? Int.max
  }

  /// Bytes of the session with `context` tokens in its cache.
  func byteCount(_ context: Int) -> Int {
    checkedSum(cacheBytes(context), workspaceBytes) ?? Int.max
  }

  /// Most tokens whose session fits `bytes`, in whole pages; 0 if not even one page does.
  func largestContext(in bytes: Int) -> Int {
    guard bytes > workspaceBytes, shape.pageBytes > 0 else { return 0 }
    return min(
      (bytes - workspaceBytes) / shape.pageBytes * KVShape.pagePositions, OptionTable.largeCount)
  }

  /// Throws `.memory` with the numbers if the session with `taken` bytes beside it needs more than `allowed`.
  func check(taken: Int, allowed: Int, by limit: MemoryLimit) throws(EngineError) {
    let needed = checkedSum(byteCount(context), taken) ?? Int.max
    guard needed > allowed else { return }
    let fitting = largestContext(in: allowed - min(allowed, taken))
    throw EngineError(
      .memory,
      "a context of \(context) tokens needs \(size(needed)): \(size(taken)) \(limit.beside), "
        + "\(size(workspaceBytes)) of workspace and \(size(cacheBytes(context))) of \(element.rawValue) keys and "
        + "values; \(size(allowed)) are \(limit.words)",
      key: limit.key,
      hint: fitting > 0
        ? "\"context\": \(fitting) fits; or use a smaller \"kv_cache\" or model, or raise \"max_memory\""
        : "no context fits; use a smaller model, or raise \"max_memory\"")
  }
}

extension Model {
  /// Promises a session its bytes; throws `.memory` with the numbers if its own limit, the model's, or where neither is
  /// set the machine's memory does not reach.
  func promise(_ plan: SessionPlan, sessionLimit: Int?) throws(EngineError) {
    if let sessionLimit { try plan.check(taken: 0, allowed: sessionLimit, by: .session) }
    if let allowed = settings.maximumMemory {
      try memory.promise(plan, weights: weightBytes, allowed: allowed)
    } else {
      try memory.promise(plan, weights: 0, allowed: Int.max)
      guard sessionLimit == nil else { return }
      do {
        try plan.check(taken: weightBytes, allowed: MachineMemory.now().total, by: .machine)
      } catch {
        memory.release(plan)
        throw error
      }
    }
  }
}

/// The bytes that a conversation was promised; given back when this goes.
final class MemoryPromise: Sendable {
  private let model: Model
  private let plan: SessionPlan

  /// Throws `.memory` if the model, the session or the machine does not reach.
  init(_ model: Model, _ settings: ConversationSettings) throws(EngineError) {
    (self.model, plan) = (model, settings.plan)
    try model.promise(
      plan, sessionLimit: settings.options["max_memory"].flatMap(ByteSize.init)?.bytes)
  }

  deinit { model.memory.release(plan) }
}

/// What the sessions of one model have been promised, where the model has a "max_memory". Any thread.
final class MemoryLedger: Sendable {
  private let promised = Mutex<Int>(0)

  /// Promises `plan` its bytes if weights, the sessions before and it fit `allowed`; throws `.memory` if not.
  func promise(_ plan: SessionPlan, weights: Int, allowed: Int) throws(EngineError) {
    try promised.withLock { (sum) throws(EngineError) in
      let taken = checkedSum(weights, sum) ?? Int.max
      try plan.check(taken: taken, allowed: allowed, by: .model)
      sum += plan.byteCount(plan.context)
    }
  }

  /// Ends a promise.
  func release(_ plan: SessionPlan) {
    promised.withLock { $0 -= min($0, plan.byteCount(plan.context)) }
  }
}

/// Who says how much memory there is.
enum MemoryLimit {
  case session
  case model
  case machine

  var key: String? { self == .machine ? nil : "max_memory" }

  /// What stands behind the number of bytes.
  var words: String {
    switch self {
    case .session: "what the session's \"max_memory\" allows"
    case .model: "what the model's \"max_memory\" allows"
    case .machine: "what this machine has"
    }
  }

  /// What is counted besides the session.
  var beside: String {
    switch self {
    case .session: "besides"
    case .model: "of weights and open sessions"
    case .machine: "of weights"
    }
  }
}

/// A number of bytes for a message, as "3.5 GiB (3758096384 bytes)".
func size(_ bytes: Int) -> String {
  guard bytes >= 1 << 20 else { return "\(bytes) bytes" }
  let (unit, name) = bytes >= 1 << 30 ? (1 << 30, "GiB") : (1 << 20, "MiB")
  let tenths = bytes / (unit / 10)
  return "\(tenths / 10).\(tenths % 10) \(name) (\(bytes) bytes)"
}
