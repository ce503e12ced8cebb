internal import QwenFormats
internal import QwenTensor

/// Qwen1.5, Qwen2 and Qwen2.5, dense.
///
/// Queries, keys and values have matrices and biases of their own; several query heads share a key head;
/// some layers may see a window only. The head may be the embedding.
struct Qwen2Decoder: DecoderFamily {
  let weights: OuterWeights
  let layers: [DecoderLayer]

  init(weights: OuterWeights, layers: [DecoderLayer]) {
    self.weights = weights
    self.layers = layers
  }

  init(_ reader: WeightReader) throws(FormatError) {
    weights = try reader.outer()
    layers = try reader.layers { (layer) throws(FormatError) in
      let (query, key, value) = try reader.projections(layer, bias: .always)
      return try reader.layer(layer, query: query, key: key, value: value)
    }
  }

  func forward(_ step: Step) throws(TensorError) {
    try step.embed(weights.embedding)
    for (index, layer) in layers.enumerated() {
      try step.normalize(layer.attentionNorm)
      try step.project(layer)
      try step.attend(index)
      try step.addAttention(layer)
      try step.normalize(layer.feedForwardNorm)
      try step.addFeedForward(layer)
      step.observe(.layer(index), step.hidden)
    }
    try step.normalize(weights.finalNorm)
  }
}
