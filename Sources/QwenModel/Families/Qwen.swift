internal import QwenFormats
internal import QwenTensor

/// Qwen of 2023 (Qwen-1.8B, 7B, 14B, 72B).
///
/// One matrix with bias makes queries, keys and values; every query head has its own key head; w2 is the
/// gate and w1 goes up; the head is untied. Dynamic NTK and LogN come with the sequence's rotary plan.
struct QwenDecoder: DecoderFamily {
  let weights: OuterWeights
  let layers: [DecoderLayer]

  init(weights: OuterWeights, layers: [DecoderLayer]) {
    self.weights = weights
    self.layers = layers
  }

  init(_ reader: WeightReader) throws(FormatError) {
    weights = try reader.outer()
    layers = try reader.layers { (layer) throws(FormatError) in
      let (query, key, value) = try reader.fusedProjections(layer)
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
