package import QwenFormats

extension ModelConfiguration {
  /// Reads a config.json in any dialect its family has had.
  ///
  /// Throws `FormatError.unsupported` for other families, `.malformed` for missing, ill-typed or impossible values.
  package init(config: JSONObject, path: String) throws(FormatError) {
    let reader = ConfigReader(object: config, path: path)
    let family = try ModelConfiguration.family(reader)
    var read =
      family == .qwen
      ? try ModelConfiguration.firstGeneration(reader)
      : try ModelConfiguration.later(reader, family)
    read.quantization = try QuantizationFacts(reader)
    self = try read.checked(path: path)
  }

  private static func family(_ reader: ConfigReader) throws(FormatError) -> ModelFamily {
    let type = try reader.string("model_type") ?? ""
    if let family = ModelFamily(rawValue: type) { return family }
    let names = ModelFamily.allCases.map(\.rawValue).joined(separator: ", ")
    throw FormatError(
      .unsupported, path: reader.path,
      type.isEmpty
        ? "has no \"model_type\"" : "\"model_type\" is \"\(escaped(type))\"",
      hint: "this build runs \(names)")
  }

  /// Qwen of 2023: the names of August and those of September, widths stated twice as large as they are.
  private static func firstGeneration(
    _ reader: ConfigReader
  ) throws(FormatError) -> ModelConfiguration {
    let hidden = try reader.int("hidden_size", "n_embd")
    let heads = try reader.int("num_attention_heads", "n_head")
    guard heads > 0 else { throw reader.error("\"num_attention_heads\" is \(heads)") }
    let headDim = try reader.int("kv_channels", default: hidden / heads)
    let intermediate = try reader.int("intermediate_size", "ffn_hidden_size")
    guard intermediate % 2 == 0 else {
      throw reader.error("\"intermediate_size\" is \(intermediate), which has no half")
    }
    let trained = try reader.int("seq_length", default: 2048)
    // Class defaults differ between the two generations of the code; the launch files carry n_embd.
    let isLaunch = reader.object["n_embd"] != nil
    return ModelConfiguration(
      family: .qwen,
      vocabularyRows: try reader.int("padded_vocab_size", "vocab_size"),
      hiddenSize: hidden, layerCount: try reader.int("num_hidden_layers", "n_layer"),
      queryHeads: heads, kvHeads: heads, headDim: headDim,
      rotaryDim: rotaryDim(
        headDim, fraction: try reader.double("rotary_pct", default: 1)),
      intermediateSize: intermediate / 2,
      normEpsilon: Float(try reader.double("layer_norm_epsilon", default: isLaunch ? 1e-5 : 1e-6)),
      rotaryBase: try reader.double("rotary_emb_base", default: 10000),
      isTied: try reader.bool("tie_word_embeddings", default: false),
      contextLength: max(
        trained, try reader.int("max_position_embeddings", "n_positions", default: trained)),
      trainedLength: trained,
      usesDynamicNTK: try reader.bool("use_dynamic_ntk", default: !isLaunch),
      usesLogN: try reader.bool("use_logn_attn", default: !isLaunch))
  }

  /// Qwen1.5 to Qwen3 and Llama.
  private static func later(
    _ reader: ConfigReader, _ family: ModelFamily
  ) throws(FormatError) -> ModelConfiguration {
    let hidden = try reader.int("hidden_size")
    let heads = try reader.int("num_attention_heads")
    guard heads > 0 else { throw reader.error("\"num_attention_heads\" is \(heads)") }
    if let activation = try reader.string("hidden_act"), activation != "silu" {
      throw FormatError(
        .unsupported, path: reader.path, "\"hidden_act\" is \"\(escaped(activation))\"",
        hint: "this build has silu only")
    }
    if family != .qwen2, family != .qwen2Experts, try reader.bool("attention_bias", default: false)
    {
      throw FormatError(
        .unsupported, path: reader.path, "\"attention_bias\" is true for a \(family.rawValue) model"
      )
    }
    let headDim = try reader.int("head_dim", default: family == .qwen3 ? 128 : hidden / heads)
    let layers = try reader.int("num_hidden_layers")
    let context = try reader.int("max_position_embeddings", default: 32768)
    let rotary = try reader.child("rope_parameters", "rope_scaling")
    let base = try rotary?.double("rope_theta", default: -1) ?? -1
    return ModelConfiguration(
      family: family, vocabularyRows: try reader.int("vocab_size"), hiddenSize: hidden,
      layerCount: layers, queryHeads: heads,
      kvHeads: try reader.int("num_key_value_heads", default: heads), headDim: headDim,
      rotaryDim: rotaryDim(
        headDim, fraction: try reader.double("partial_rotary_factor", default: 1)),
      intermediateSize: try reader.int("intermediate_size"),
      normEpsilon: Float(try reader.double("rms_norm_eps", default: 1e-6)),
      rotaryBase: base > 0 ? base : try reader.double("rope_theta", default: 10000),
      rotaryScaling: try scaling(rotary, context: context),
      isTied: try reader.bool("tie_word_embeddings", default: false),
      contextLength: context, trainedLength: context,
      experts: try experts(reader, family, layers: layers),
      windows: try windows(reader, layers: layers))
  }

  /// The first int(D * fraction) components rotate.
  private static func rotaryDim(_ headDim: Int, fraction: Double) -> Int {
    guard fraction >= 0, fraction <= 1, headDim > 0, headDim <= 1 << 20 else { return headDim }
    return Int(Double(headDim) * fraction)
  }

  private static func scaling(
    _ reader: ConfigReader?, context: Int
  ) throws(FormatError) -> RotaryScaling {
    guard let reader else { return .none }
    let type = try reader.string("rope_type", "type") ?? "default"
    switch type {
    case "default": return .none
    case "linear": return .linear(factor: try positive(reader, "factor"))
    case "yarn":
      let original = try reader.int("original_max_position_embeddings", default: context)
      guard original > 0 else {
        throw reader.error("\"original_max_position_embeddings\" is \(original)")
      }
      var yarn = RotaryScaling.Yarn(
        factor: try positive(reader, "factor"), originalLength: original)
      yarn.betaFast = try reader.double("beta_fast", default: 32)
      yarn.betaSlow = try reader.double("beta_slow", default: 1)
      let attention = try reader.double("attention_factor", default: 0)
      yarn.attentionFactor = attention > 0 ? attention : nil
      return .yarn(yarn)
    default:
      throw FormatError(
        .unsupported, path: reader.path, "rotary scaling \"\(escaped(type))\"",
        hint: "this build has linear and yarn")
    }
  }

  private static func positive(
    _ reader: ConfigReader, _ name: String
  ) throws(FormatError) -> Double {
    let value = try reader.double(name)
    guard value.isFinite, value > 0 else { throw reader.error("\"\(name)\" is \(value)") }
    return value
  }

  private static func experts(
    _ reader: ConfigReader, _ family: ModelFamily, layers: Int
  ) throws(FormatError) -> ExpertSizes? {
    guard family == .qwen2Experts || family == .qwen3Experts else { return nil }
    var sizes = ExpertSizes(
      count: try reader.int("num_experts"), perToken: try reader.int("num_experts_per_tok"),
      width: try reader.int("moe_intermediate_size"),
      sharedWidth: family == .qwen2Experts ? try reader.int("shared_expert_intermediate_size") : 0,
      normalizes: try reader.bool("norm_topk_prob", default: false))
    let step = try reader.int("decoder_sparse_step", default: 1)
    guard step > 0, layers <= 4096 else { throw reader.error("\"decoder_sparse_step\" is \(step)") }
    let dense = reader.object["mlp_only_layers"]?.array?.compactMap(\.int) ?? []
    sizes.denseLayers = Set(dense + (0..<max(0, layers)).filter { ($0 + 1) % step != 0 })
    return sizes
  }

  private static func windows(
    _ reader: ConfigReader, layers: Int
  ) throws(FormatError) -> [Int?] {
    guard try reader.bool("use_sliding_window", default: false) else { return [] }
    let positions = try reader.int("sliding_window", default: 0)
    guard positions > 0, layers > 0, layers <= 4096 else { return [] }
    if let types = reader.object["layer_types"]?.array {
      return types.map { $0.string == "sliding_attention" ? positions : nil }
    }
    let first = try reader.int("max_window_layers", default: 28)
    return (0..<layers).map { $0 >= first ? positions : nil }
  }
}
