package import QwenFormats
package import QwenTensor

/// A family's forward pass over its weights.
protocol DecoderFamily: Sendable {
  var weights: OuterWeights { get }
  var layers: [DecoderLayer] { get }
  /// Evaluates the step's tokens: fills the caches behind each slice and leaves RMSNorm of the last layer
  /// in `step.normed`.
  func forward(_ step: Step) throws(TensorError)
}

/// A decoder-only language model: tokens in, hidden states and logits out. Immutable, shared by threads.
package final class LanguageModel: Sendable {
  package let configuration: ModelConfiguration
  private let family: any DecoderFamily

  /// Takes the weights of `archive`, which stays mapped as long as the model lives.
  ///
  /// Throws `FormatError` naming the tensor that is missing, misshapen or of an unknown type.
  package init(
    _ configuration: ModelConfiguration, _ archive: TensorArchive,
    progress: WeightProgress? = nil
  ) throws(FormatError) {
    self.configuration = configuration
    let reader = WeightReader(archive, configuration)
    family =
      switch configuration.family {
      case .qwen: try QwenDecoder(reader, progress)
      case .qwen2: try Qwen2Decoder(reader, progress)
      case .qwen3: try Qwen3Decoder(reader, progress)
      case .qwen2Experts: try Qwen2ExpertDecoder(reader, progress)
      case .qwen3Experts: try Qwen3ExpertDecoder(reader, progress)
      case .llama: try LlamaDecoder(reader, progress)
      }
  }

  /// Evaluates what each slice adds, by this checkpoint's configuration or one made from it. Returns RMSNorm of the last layer, [T, H], valid until the next step of
  /// this workspace.
  ///
  /// On an error, cancellation included, every sequence is as long as it was.
  package func forward(
    _ slices: [Slice], _ workspace: Workspace, as other: ModelConfiguration? = nil,
    observer: ((Stage, Rows) -> Void)? = nil
  ) throws(TensorError) -> Rows {
    for token in slices.lazy.flatMap(\.tokens)
    where token < 0 || Int(token) >= configuration.vocabularyRows {
      throw .shape("token \(token) of \(configuration.vocabularyRows)")
    }
    let step = try Step(slices, other ?? configuration, workspace, observer: observer)
    try family.forward(step)
    observer?(.finalNorm, step.normed)
    for slice in slices {
      slice.sequence.cache.commit(slice.sequence.length + slice.tokens.count)
    }
    return step.normed
  }

  /// Logits [T, V] of hidden states [T, H] that `forward` returned.
  package func logits(
    _ hidden: Rows, into logits: Rows, _ workspace: Workspace
  ) throws(TensorError) {
    try workspace.compute.multiply(family.weights.head, hidden, into: logits)
  }

  /// Format of the matrices of the layers, of the embedding and of the head, for reports.
  package var formats: (embedding: StorageFormat, head: StorageFormat, layers: StorageFormat) {
    let head = family.weights.head.weight.format
    return (family.weights.embedding.format, head, family.layers.last?.output.weight.format ?? head)
  }
}
