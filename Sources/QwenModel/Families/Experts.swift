internal import QwenFormats
internal import QwenTensor

/// Qwen1.5-MoE and Qwen2-MoE: Qwen2 whose feed-forward parts are mixtures with a shared expert.
struct Qwen2ExpertDecoder: DecoderFamily {
  let weights: OuterWeights
  let layers: [DecoderLayer]

  init(weights: OuterWeights, layers: [DecoderLayer]) {
    self.weights = weights
    self.layers = layers
  }

  init(_ reader: WeightReader) throws(FormatError) {
    weights = try reader.outer()
    layers = try reader.layers { (layer) throws(FormatError) in
      let (query, key, value) = try reader.projections(layer, bias: .ifPresent)
      return try reader.layer(layer, query: query, key: key, value: value)
    }
  }

  func forward(_ step: Step) throws(TensorError) { try step.decode(weights, layers) }
}

/// Qwen3-MoE: Qwen3 whose feed-forward parts are mixtures.
struct Qwen3ExpertDecoder: DecoderFamily {
  let weights: OuterWeights
  let layers: [DecoderLayer]

  init(weights: OuterWeights, layers: [DecoderLayer]) {
    self.weights = weights
    self.layers = layers
  }

  init(_ reader: WeightReader) throws(FormatError) {
    weights = try reader.outer()
    layers = try reader.layers { (layer) throws(FormatError) in
      let (query, key, value) = try reader.projections(layer, bias: .never)
      return try reader.layer(
        layer, query: query, key: key, value: value, headNorms: try reader.headNorms(layer))
    }
  }

  func forward(_ step: Step) throws(TensorError) { try step.decode(weights, layers) }
}

extension Step {
  /// The forward pass of families that differ in their weights alone.
  fileprivate func decode(_ weights: OuterWeights, _ layers: [DecoderLayer]) throws(TensorError) {
    try embed(weights.embedding)
    for (index, layer) in layers.enumerated() {
      try normalize(layer.attentionNorm)
      try project(layer)
      try attend(index, headNorms: layer.headNorms)
      try addAttention(layer)
      try normalize(layer.feedForwardNorm)
      try addFeedForward(layer)
      observe(.layer(index), hidden)
    }
    try normalize(weights.finalNorm)
  }
}
