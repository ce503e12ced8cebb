package import QwenFormats

extension ModelConfiguration {
  /// Keys of our own beside those of the architecture, for what GGUF has no words for. Others ignore them.
  enum GGUFKey {
    static let dynamicNTK = "libqwen.use_dynamic_ntk"
    static let logN = "libqwen.use_logn_attn"
    static let trainedLength = "libqwen.seq_length"
  }

  /// What a GGUF file says of the architecture, without its vocabulary.
  ///
  /// Throws `.unsupported` for what no reader of such files could know; `path` is the file that is written.
  package func ggufMetadata(path: String) throws(FormatError) -> [(key: String, value: GGUFOutput)]
  {
    try refuseWhatFilesCantSay(path)
    let name = family.ggufArchitecture
    var pairs: [(key: String, value: GGUFOutput)] = [("general.architecture", .string(name))]
    func add(_ key: String, _ value: Int) { pairs.append(("\(name).\(key)", .u32(UInt32(value)))) }
    func add(_ key: String, _ value: Float) { pairs.append(("\(name).\(key)", .f32(value))) }
    add("context_length", contextLength)
    add("embedding_length", hiddenSize)
    add("block_count", layerCount)
    // Files of the first family state twice the real width.
    add("feed_forward_length", family == .qwen ? 2 * intermediateSize : intermediateSize)
    add("attention.head_count", queryHeads)
    add("attention.head_count_kv", kvHeads)
    if headDim * queryHeads != hiddenSize || family == .qwen3 || family == .qwen3Experts {
      add("attention.key_length", headDim)
      add("attention.value_length", headDim)
    }
    add("attention.layer_norm_rms_epsilon", normEpsilon)
    add("rope.dimension_count", rotaryDim)
    add("rope.freq_base", Float(rotaryBase))
    add("vocab_size", vocabularyRows)
    if let experts {
      add("expert_count", experts.count)
      add("expert_used_count", experts.perToken)
      add("expert_feed_forward_length", experts.width)
      if experts.sharedWidth > 0 { add("expert_shared_feed_forward_length", experts.sharedWidth) }
    }
    switch rotaryScaling {
    case .none: break
    case .linear(let factor):
      pairs.append(("\(name).rope.scaling.type", .string("linear")))
      add("rope.scaling.factor", Float(factor))
    case .yarn(let yarn):
      pairs.append(("\(name).rope.scaling.type", .string("yarn")))
      add("rope.scaling.factor", Float(yarn.factor))
      add("rope.scaling.original_context_length", yarn.originalLength)
    }
    if usesDynamicNTK || usesLogN {
      pairs.append((GGUFKey.dynamicNTK, .bool(usesDynamicNTK)))
      pairs.append((GGUFKey.logN, .bool(usesLogN)))
      pairs.append((GGUFKey.trainedLength, .u32(UInt32(trainedLength))))
    }
    return pairs
  }

  private func refuseWhatFilesCantSay(_ path: String) throws(FormatError) {
    var what: String?
    if let experts {
      if !experts.denseLayers.isEmpty { what = "layers without experts among those with them" }
      if experts.normalizes != (family == .qwen3Experts) {
        what = "whether the weights of experts are made to sum to 1"
      }
    }
    if windows.contains(where: { $0.map { $0 < contextLength } ?? false }) {
      what = "sliding windows"
    }
    if case .yarn(let yarn) = rotaryScaling,
      yarn != RotaryScaling.Yarn(factor: yarn.factor, originalLength: yarn.originalLength)
    {
      what = "constants of YaRN"
    }
    guard let what else { return }
    throw FormatError(
      .unsupported, path: path, "a GGUF file of this architecture can't say: \(what)",
      hint: "write a folder instead: a name that does not end in .gguf")
  }
}

extension ModelFamily {
  /// The architecture as GGUF files name it.
  var ggufArchitecture: String { rawValue.filter { $0 != "_" } }
}
