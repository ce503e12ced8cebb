internal import QwenFormats
internal import QwenTensor

/// The Llama layout, as SmolLM2 has it.
///
/// Grouped heads, no bias anywhere. In GGUF files the rows of queries and keys are stored so that
/// neighbouring components rotate together; the configuration says which pairing holds.
struct LlamaDecoder: DecoderFamily {
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
