package import QwenFormats
internal import QwenModel
internal import QwenTensor

/// What a model and a session of it would take in memory, from headers alone.
package struct MemoryPlan {
  private let path: String
  private let configuration: ModelConfiguration
  private let weights: WeightPlan
  private let session: SessionPlan
  private let contexts: [Int]
  private let asked: Int?

  /// Reads the headers at `path`. `options` is a checked object of the tables `open`, `session` and `plan`.
  package init(path: String, options: JSONObject) throws(EngineError) {
    let settings = OpenSettings(options)
    do throws(FormatError) {
      let (configuration, archive) = try MemoryPlan.headers(path)
      self.configuration = configuration
      weights = try WeightPlan(
        configuration, archive, isMapped: settings.isMapped, policy: settings.policy)
    } catch { throw EngineError(error) }
    self.path = path
    session = SessionPlan(configuration, options: options, settings: settings)
    asked = options["max_memory"].flatMap(ByteSize.init)?.bytes
    let given = options["contexts"]?.array?.compactMap(\.int)
    contexts =
      given ?? MemoryPlan.usualContexts(upTo: max(session.context, configuration.contextLength))
  }

  private static func headers(
    _ path: String
  ) throws(FormatError) -> (ModelConfiguration, TensorArchive) {
    switch try ModelFiles.open(path: path, mode: .map, layout: BlockLayout.of) {
    case .gguf(let file): return (try ModelConfiguration(gguf: file), file.tensors)
    case .folder(let folder):
      let config = try folder.object("config.json") ?? JSONObject()
      return (
        try ModelConfiguration(config: config, path: folder.path("config.json")),
        try folder.tensors(mode: .map)
      )
    }
  }

  /// Powers of two from 2048 on, as far as the model goes.
  private static func usualContexts(upTo longest: Int) -> [Int] {
    (11...17).map { 1 << $0 }.filter { $0 <= max(longest, 2048) }
  }

  /// Throws `.memory` with the numbers if the weights alone are more than "max_memory"; without one, if those that
  /// are no pages of files are more than the machine has.
  package func check() throws(EngineError) {
    let needed = asked == nil ? weights.byteCount - weights.mappedBytes : weights.byteCount
    let allowed = asked ?? MachineMemory.now().total
    guard needed > allowed else { return }
    let limit = asked == nil ? MemoryLimit.machine : .model
    throw EngineError(
      .memory, "the weights need \(size(needed)), \(size(allowed)) are \(limit.words)",
      key: limit.key,
      hint:
        "use a model in a smaller format\(asked == nil ? ", or map it" : ", or raise \"max_memory\"")"
    )
  }

  /// As `qwen_model_plan` tells it.
  package var json: JSONObject {
    let machine = MachineMemory.now()
    let allowed = asked ?? machine.total
    let left = allowed - min(allowed, weights.byteCount)
    let free = machine.available - min(machine.available, weights.byteCount)
    var memory: JSONObject = [
      "machine_bytes": .integer(machine.total), "available_bytes": .integer(machine.available),
      "context_that_fits": .integer(session.largestContext(in: left)),
      "context_that_fits_now": .integer(
        min(session.largestContext(in: left), session.largestContext(in: free))),
    ]
    if let asked { memory["max_memory"] = .integer(asked) }
    let total = checkedSum(weights.byteCount, session.byteCount(session.context)) ?? Int.max
    return [
      "path": .string(path), "family": .string(configuration.family.rawValue),
      "weights": [
        "bytes": .integer(weights.byteCount), "mapped_bytes": .integer(weights.mappedBytes),
        "norms_and_biases_bytes": .integer(weights.vectorBytes),
        "parts": .array(weights.shares.map(\.json)),
      ],
      "session": [
        "context": .integer(session.context), "kv_cache": .string(session.element.rawValue),
        "prefill_chunk": .integer(session.chunk),
        "workspace_bytes": .integer(session.workspaceBytes),
        "kv_bytes_per_token": .integer(session.shape.pageBytes / KVShape.pagePositions),
        "kv_bytes": .integer(session.cacheBytes(session.context)),
      ],
      "total_bytes": .integer(total), "fits": .bool(total <= allowed),
      "contexts": .array(contexts.map { context($0, allowed: allowed) }), "memory": .object(memory),
    ]
  }

  private func context(_ context: Int, allowed: Int) -> JSONValue {
    let total = checkedSum(weights.byteCount, session.byteCount(context)) ?? Int.max
    return [
      "context": .integer(context), "kv_bytes": .integer(session.cacheBytes(context)),
      "total_bytes": .integer(total), "fits": .bool(total <= allowed),
    ]
  }
}

extension BlockLayout {
  /// The block sizes of a GGUF tensor type, nil for one this build does not know.
  static func of(_ type: UInt32) -> BlockLayout? {
    StorageFormat.ggml(type).map { BlockLayout(elements: $0.blockElements, bytes: $0.blockBytes) }
  }
}
