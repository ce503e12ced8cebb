internal import QwenFormats

/// How the next token is chosen from logits.
package struct SamplingOptions: Sendable, Equatable {
  /// False takes the most likely token.
  package var isSampling = false
  package var temperature = 1.0
  /// 0 for all.
  package var topK = 0
  package var topP = 1.0
  package var minP = 0.0
  package var typicalP = 1.0
  /// Smallest probability that stays; 0 for any.
  package var epsilonCutoff = 0.0
  package var etaCutoff = 0.0
  package var repetitionPenalty = 1.0
  package var frequencyPenalty = 0.0
  package var presencePenalty = 0.0
  /// Tokens in a sequence that must not occur twice; 0 for none.
  package var noRepeatNgram = 0
  /// Added to the logits of tokens.
  package var logitBias: [Int32: Float] = [:]
  package var dry = DryOptions()
  package var xtcProbability = 0.0
  package var xtcThreshold = 0.1
  package var mirostat: MirostatOptions?
  /// nil for one from the system.
  package var seed: UInt64?

  package init() {}

  /// `value` finds an option in request, model or table; a temperature in the request itself means sampling.
  init(_ request: JSONObject, _ value: (String) -> JSONValue) {
    func number(_ name: String, _ otherwise: Double) -> Double { value(name).double ?? otherwise }
    temperature = number("temperature", 1)
    let asksByTemperature = request["do_sample"] == nil && request["temperature"] != nil
    isSampling = (asksByTemperature || value("do_sample").bool ?? false) && temperature > 0
    topK = value("top_k").int ?? 0
    topP = number("top_p", 1)
    minP = number("min_p", 0)
    typicalP = number("typical_p", 1)
    epsilonCutoff = number("epsilon_cutoff", 0)
    etaCutoff = number("eta_cutoff", 0)
    repetitionPenalty = number("repetition_penalty", 1)
    frequencyPenalty = number("frequency_penalty", 0)
    presencePenalty = number("presence_penalty", 0)
    noRepeatNgram = value("no_repeat_ngram_size").int ?? 0
    for (key, bias) in value("logit_bias").object?.entries ?? [] {
      if let id = Int32(key), let bias = bias.double { logitBias[id] = Float(bias) }
    }
    dry.multiplier = number("dry_multiplier", 0)
    dry.base = number("dry_base", 1.75)
    dry.allowedLength = value("dry_allowed_length").int ?? 2
    dry.range = value("dry_range").int ?? 0
    xtcProbability = number("xtc_probability", 0)
    xtcThreshold = number("xtc_threshold", 0.1)
    if value("mirostat").int == 2 {
      mirostat = MirostatOptions(tau: number("mirostat_tau", 5), eta: number("mirostat_eta", 0.1))
    }
    seed = value("seed").int.flatMap { UInt64(exactly: $0) }
  }
}

/// "Don't repeat yourself": a token is the less likely the longer the repetition it would continue.
package struct DryOptions: Sendable, Equatable {
  /// 0 for off.
  package var multiplier = 0.0
  package var base = 1.75
  /// Repetitions up to this length cost nothing.
  package var allowedLength = 2
  /// Most recent tokens that are looked at; 0 for all.
  package var range = 0
  /// No repetition reaches over these tokens.
  package var breakers: Set<Int32> = []

  package init() {}
}

/// Mirostat, version 2: keeps the surprise of what is drawn near a target.
package struct MirostatOptions: Sendable, Equatable {
  /// Target, in bits.
  package var tau: Double
  /// Rate of correction.
  package var eta: Double

  package init(tau: Double, eta: Double) {
    self.tau = tau
    self.eta = eta
  }
}
