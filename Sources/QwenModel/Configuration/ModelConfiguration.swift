package import QwenTensor

/// Which forward pass a checkpoint needs.
package enum ModelFamily: String, Sendable, CaseIterable {
  /// Qwen of 2023: fused projections, all heads of their own, untied head.
  case qwen
  /// Qwen1.5, Qwen2 and Qwen2.5: biases on queries, keys and values, grouped heads.
  case qwen2
  /// Qwen3: a norm over each head of queries and keys, a head size of its own.
  case qwen3
  /// Qwen1.5-MoE and Qwen2-MoE: mixtures of experts with a shared one.
  case qwen2Experts = "qwen2_moe"
  /// Qwen3-MoE: mixtures of experts.
  case qwen3Experts = "qwen3_moe"
  /// The Llama layout: grouped heads, no bias.
  case llama
}

extension ModelFamily {
  /// The family of an architecture as GGUF files name it.
  init?(architecture: String) {
    switch architecture {
    case "qwen2moe": self = .qwen2Experts
    case "qwen3moe": self = .qwen3Experts
    default: self.init(rawValue: architecture)
    }
  }
}

/// Sizes of a mixture of experts.
package struct ExpertSizes: Sendable, Equatable {
  /// E.
  package var count: Int
  /// Experts that a token goes through.
  package var perToken: Int
  /// Width inside an expert.
  package var width: Int
  /// Width inside the shared expert; 0 for none.
  package var sharedWidth: Int
  /// Whether the weights of a token's experts are made to sum to 1.
  package var normalizes: Bool
  /// Layers with a plain feed-forward part instead.
  package var denseLayers: Set<Int> = []

  package func isSparse(layer: Int) -> Bool { !denseLayers.contains(layer) }
}

/// How positions beyond the trained length are reached.
package enum RotaryScaling: Sendable, Equatable {
  /// Angles as trained.
  case none
  /// Every angle divided by `factor`.
  case linear(factor: Double)
  /// YaRN (Peng et al. 2023, section 3): slow angles divided, fast ones kept, cosines enlarged.
  case yarn(Yarn)

  /// The constants of YaRN.
  package struct Yarn: Sendable, Equatable {
    package var factor: Double
    package var originalLength: Int
    package var betaFast: Double = 32
    package var betaSlow: Double = 1
    /// Factor on cosine and sine; nil for 0.1 ln(factor) + 1.
    package var attentionFactor: Double?
  }
}

/// The facts of one checkpoint that its forward pass needs, in one form for every dialect they come in.
package struct ModelConfiguration: Sendable, Equatable {
  package var family: ModelFamily
  /// Rows of the embedding, V; at least the number of usable token ids.
  package var vocabularyRows: Int
  /// Width of the residual stream, H.
  package var hiddenSize: Int
  package var layerCount: Int
  package var queryHeads: Int
  package var kvHeads: Int
  package var headDim: Int
  /// Leading components of a head that rotate; even, at most `headDim`.
  package var rotaryDim: Int
  /// Width of gate and up projection: the real one, also where a file states twice that.
  package var intermediateSize: Int
  package var normEpsilon: Float
  package var rotaryBase: Double
  package var rotaryScaling: RotaryScaling = .none
  package var rotaryPairing: RotaryPairing = .halves
  /// Whether the output head is the embedding matrix.
  package var isTied: Bool
  /// Positions the checkpoint says it can serve.
  package var contextLength: Int
  /// Positions of the training texts: what dynamic NTK and LogN compare with.
  package var trainedLength: Int
  package var usesDynamicNTK = false
  package var usesLogN = false
  /// The mixture of experts, if there is one.
  package var experts: ExpertSizes?
  /// Alpha of NTK where it does not depend on a length.
  package var fixedAlpha: Double?
  /// How many positions, its own included, a query sees in each layer; nil for all. Empty for all everywhere.
  package var windows: [Int?] = []
  /// Who quantised the weights, if the files say so.
  package var quantization: QuantizationFacts?

  /// The window of layer `layer`, nil for all positions.
  package func window(layer: Int) -> Int? {
    windows.indices.contains(layer) ? windows[layer] : nil
  }

  /// How keys and values of this model lie in a cache.
  package func kvShape(_ element: KVShape.Element) -> KVShape {
    KVShape(layers: layerCount, heads: kvHeads, headDim: headDim, element: element)
  }

  /// Sizes of rotation and attention in layer `layer`.
  package func attentionShape(layer: Int) -> AttentionShape {
    AttentionShape(
      queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDim, pairing: rotaryPairing,
      window: window(layer: layer))
  }
}
