package import QwenFormats
package import QwenTensor
private import Synchronization

/// A family's forward pass over its weights.
protocol DecoderFamily: Sendable {
  var weights: OuterWeights { get }
  var layers: [DecoderLayer] { get }
  /// The same pass over other weights.
  init(weights: OuterWeights, layers: [DecoderLayer])
  /// Evaluates the step's tokens: fills the caches behind each slice and leaves RMSNorm of the last layer
  /// in `step.normed`.
  func forward(_ step: Step) throws(TensorError)
}

/// A decoder-only language model: tokens in, hidden states and logits out. Shared by threads; weights may move in memory
/// between steps, never change.
package final class LanguageModel: Sendable {
  package let configuration: ModelConfiguration
  private let current: Mutex<any DecoderFamily>
  var decoder: any DecoderFamily { current.withLock { $0 } }
  /// Moves mapped weights; nil where they stay.
  private let packing: GradualPacking?

  /// Takes the weights of `archive`, which stays mapped as long as the model lives and something is as stored; brings
  /// the others into the formats of `policy`, a slab at a time on `threads` threads.
  ///
  /// Throws `FormatError` naming the tensor that is missing, misshapen or of an unknown type. `hasMemory` says whether so
  /// many bytes may be taken to interleave mapped matrices between steps, where the policy has that; without it none are.
  package init(
    _ configuration: ModelConfiguration, _ archive: TensorArchive, policy: WeightPolicy = .stored,
    threads: Int = 1, hasMemory: (@Sendable (Int) -> Bool)? = nil, progress: WeightProgress? = nil
  ) throws(FormatError) {
    self.configuration = configuration
    let reader = WeightReader(archive, configuration)
    let stored: any DecoderFamily =
      switch configuration.family {
      case .qwen: try QwenDecoder(reader)
      case .qwen2: try Qwen2Decoder(reader)
      case .qwen3: try Qwen3Decoder(reader)
      case .qwen2Experts: try Qwen2ExpertDecoder(reader)
      case .qwen3Experts: try Qwen3ExpertDecoder(reader)
      case .llama: try LlamaDecoder(reader)
      }
    let loading = WeightLoading(
      policy, threads: threads, totalBytes: archive.byteCount, progress: progress)
    current = Mutex(try loading.prepare(stored, configuration, path: archive.path))
    packing =
      policy.packing == .whereFaster ? hasMemory.map { GradualPacking(hasMemory: $0) } : nil
  }

  /// Whether weights lie where they will stay.
  package var isSettled: Bool { packing?.isDone ?? true }

  /// Evaluates what each slice adds, by this checkpoint's configuration or one made from it. Returns RMSNorm of the last layer, [T, H], valid until the next step of
  /// this workspace.
  ///
  /// On an error, cancellation included, every sequence is as long as it was.
  package func forward(
    _ slices: [Slice], _ workspace: Workspace, as other: ModelConfiguration? = nil,
    observer: ((Stage, Rows) -> Void)? = nil
  ) throws(TensorError) -> Rows {
    for slice in slices {
      for token in slice.tokens where token < 0 || Int(token) >= configuration.vocabularyRows {
        throw .shape("token \(token) of \(configuration.vocabularyRows)")
      }
    }
    let step = try Step(slices, other ?? configuration, workspace, observer: observer)
    try settle(workspace.compute, tokens: step.tokens.count)
    let start = RunControl.now()
    try decoder.forward(step)
    packing?.note(tokens: step.tokens.count, time: RunControl.now() - start)
    observer?(.finalNorm, step.normed)
    for slice in slices {
      slice.sequence.cache.commit(slice.sequence.length + slice.tokens.count)
    }
    return step.normed
  }

  /// Spends a part of the last step's time on weights that are read faster elsewhere.
  private func settle(_ compute: Compute, tokens: Int) throws(TensorError) {
    guard let packing, !packing.isDone else { return }
    if let moved = packing.advance(
      decoder, tokens: tokens, threads: compute.threads, compute.control)
    {
      current.withLock { $0 = moved }
    }
    try compute.control.check()
  }

  /// Logits [T, V] of hidden states [T, H] that `forward` returned.
  package func logits(
    _ hidden: Rows, into logits: Rows, _ workspace: Workspace
  ) throws(TensorError) {
    try workspace.compute.multiply(decoder.weights.head, hidden, into: logits)
  }

  /// What the matrices of each part are held in, by part and format; a tied head that is the embedding is not
  /// counted again.
  package var shares: [WeightShare] {
    var shares: [WeightShare] = []
    func add(_ matrix: Matrix, _ part: WeightPart) {
      let found = shares.firstIndex {
        $0.part == part && $0.format.rowName == matrix.format.rowName
      }
      if found == nil {
        shares.append(WeightShare(part: part, format: matrix.format))
      }
      let index = found ?? shares.count - 1
      shares[index].matrices += 1
      shares[index].byteCount += matrix.rows * matrix.rowBytes
      if matrix.isMapped { shares[index].mappedBytes += matrix.rows * matrix.rowBytes }
    }
    add(decoder.weights.embedding, .embedding)
    for layer in decoder.layers {
      for linear in layer.linears { add(linear.weight, .layers) }
      for linear in layer.feedForward.routers { add(linear.weight, .router) }
    }
    if !decoder.weights.isTied { add(decoder.weights.head.weight, .head) }
    return shares
  }

  /// Bytes of the matrices that one token reads: of a mixture of experts those that it is sent to, of the embedding
  /// none.
  package var bytesPerToken: Int {
    let chosen = configuration.experts?.perToken ?? 0
    func bytes(_ linears: [Linear]) -> Int { linears.reduce(0) { $0 + $1.weight.byteCount } }
    func bytes(_ feedForward: FeedForward) -> Int {
      guard case .experts(let mixture) = feedForward else { return bytes(feedForward.linears) }
      let experts = mixture.experts.reduce(0) { $0 + bytes($1.linears) }
      return experts / max(1, mixture.experts.count) * chosen
        + bytes(mixture.shared?.linears ?? []) + bytes(feedForward.routers)
    }
    return decoder.layers.reduce(bytes([decoder.weights.head])) {
      $0 + bytes([$1.query, $1.key, $1.value, $1.output]) + bytes($1.feedForward)
    }
  }

  /// The format of the head and of the embedding, for reports.
  package var outerFormats: (embedding: StorageFormat, head: StorageFormat) {
    (decoder.weights.embedding.format, decoder.weights.head.weight.format)
  }
}
