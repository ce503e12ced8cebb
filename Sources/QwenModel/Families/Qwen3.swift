internal import QwenFormats
internal import QwenTensor

/// Qwen3, dense.
///
/// As Qwen2 without biases; heads have a size of their own, and each head of queries and keys goes through a
/// norm before it is rotated.
struct Qwen3Decoder: DecoderFamily {
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

  func forward(_ step: Step) throws(TensorError) {
    try step.embed(weights.embedding)
    for (index, layer) in layers.enumerated() {
      try step.normalize(layer.attentionNorm)
      try step.project(layer)
      try step.attend(index, headNorms: layer.headNorms)
      try step.addAttention(layer)
      try step.normalize(layer.feedForwardNorm)
      try step.addFeedForward(layer)
      step.observe(.layer(index), step.hidden)
    }
    try step.normalize(weights.finalNorm)
  }
}
