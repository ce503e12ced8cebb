package import QwenFormats
internal import QwenTensor

extension ModelConfiguration {
  /// Reads the metadata of a GGUF file; sizes that old files leave out are taken from its tensors.
  ///
  /// Throws `FormatError.unsupported` for other architectures, `.malformed` for missing or impossible values.
  package init(gguf file: GGUFFile) throws(FormatError) {
    let path = file.path
    let name = file.metadata["general.architecture"]?.string ?? ""
    guard let family = ModelFamily(architecture: name) else {
      throw FormatError(
        .unsupported, path: path, "the architecture is \"\(escaped(name))\"",
        hint: "this build runs \(ModelFamily.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    let reader = GGUFReader(file: file, prefix: name + ".")
    let hidden = try reader.int("embedding_length")
    let heads = try reader.int("attention.head_count")
    guard heads > 0, hidden > 0 else {
      throw FormatError(.malformed, path: path, "\(heads) heads over \(hidden) values")
    }
    let headDim = try reader.int("attention.key_length", default: hidden / heads)
    guard try reader.int("attention.value_length", default: headDim) == headDim else {
      throw FormatError(.unsupported, path: path, "keys and values of different sizes")
    }
    var experts: ExpertSizes?
    if family == .qwen2Experts || family == .qwen3Experts {
      experts = ExpertSizes(
        count: try reader.int("expert_count"), perToken: try reader.int("expert_used_count"),
        width: try reader.int("expert_feed_forward_length"),
        sharedWidth: family == .qwen2Experts
          ? try reader.int("expert_shared_feed_forward_length") : 0,
        normalizes: family == .qwen3Experts)
    }
    let width = try reader.int("feed_forward_length", default: experts?.width)
    let context = try reader.int("context_length", default: family == .qwen ? 8192 : 32768)
    guard let vocabulary = file.tensors["token_embd.weight"]?.shape.first else {
      throw FormatError(.malformed, path: path, "has no tensor \"token_embd.weight\"")
    }
    var configuration = ModelConfiguration(
      family: family, vocabularyRows: vocabulary, hiddenSize: hidden,
      layerCount: try reader.int("block_count"), queryHeads: heads,
      kvHeads: try reader.int("attention.head_count_kv", default: heads), headDim: headDim,
      rotaryDim: try reader.int("rope.dimension_count", default: headDim),
      // Files of the first family state twice the real width.
      intermediateSize: family == .qwen ? width / 2 : width,
      normEpsilon: Float(try reader.double("attention.layer_norm_rms_epsilon", default: 1e-6)),
      rotaryBase: try reader.double("rope.freq_base", default: 10000),
      rotaryScaling: try reader.scaling(context: context),
      // Rows of queries and keys of this family are permuted when a file is made.
      rotaryPairing: family == .llama ? .pairs : .halves,
      isTied: file.tensors["output.weight"] == nil, contextLength: context,
      trainedLength: context, experts: experts)
    configuration.usesDynamicNTK = file.metadata[GGUFKey.dynamicNTK]?.bool ?? false
    configuration.usesLogN = file.metadata[GGUFKey.logN]?.bool ?? false
    configuration.trainedLength = file.metadata[GGUFKey.trainedLength]?.int ?? context
    self = try configuration.checked(path: path)
  }
}

/// Reads values of one architecture.
private struct GGUFReader {
  let file: GGUFFile
  let prefix: String

  func int(_ name: String, default fallback: Int? = nil) throws(FormatError) -> Int {
    guard let value = file.metadata[prefix + name] else { return try missing(name, fallback) }
    guard let int = value.int else { throw wrong(name, "an integer") }
    return int
  }

  func double(_ name: String, default fallback: Double? = nil) throws(FormatError) -> Double {
    guard let value = file.metadata[prefix + name] else { return try missing(name, fallback) }
    guard let double = value.double else { throw wrong(name, "a number") }
    return double
  }

  func scaling(context: Int) throws(FormatError) -> RotaryScaling {
    let type = file.metadata[prefix + "rope.scaling.type"]?.string ?? "none"
    switch type {
    case "none": return .none
    case "linear":
      let factor = try double("rope.scaling.factor", default: 1)
      guard factor.isFinite, factor > 0 else { throw wrong("rope.scaling.factor", "positive") }
      return .linear(factor: factor)
    case "yarn":
      let factor = try double("rope.scaling.factor")
      let original = try int("rope.scaling.original_context_length", default: context)
      guard factor.isFinite, factor > 0, original > 0 else {
        throw wrong("rope.scaling.factor", "positive")
      }
      return .yarn(RotaryScaling.Yarn(factor: factor, originalLength: original))
    default:
      throw FormatError(
        .unsupported, path: file.path, "rotary scaling \"\(escaped(type))\"",
        hint: "this build has linear and yarn")
    }
  }

  private func missing<T>(_ name: String, _ fallback: T?) throws(FormatError) -> T {
    if let fallback { return fallback }
    throw FormatError(.malformed, path: file.path, "has no metadata value \"\(prefix + name)\"")
  }

  private func wrong(_ name: String, _ wanted: String) -> FormatError {
    FormatError(.malformed, path: file.path, "\"\(prefix + name)\" is not \(wanted)")
  }
}
