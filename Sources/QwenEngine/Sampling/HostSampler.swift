package import QwenFormats

extension OptionTable {
  /// Options of a sampler of its own: those of a run that concern the choice of a token.
  package static let sampler = OptionTable(
    section: "sampler",
    options: generate.options.filter {
      [
        "do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff",
        "eta_cutoff", "xtc_probability", "xtc_threshold", "mirostat", "mirostat_tau",
        "mirostat_eta", "repetition_penalty", "frequency_penalty", "presence_penalty",
        "no_repeat_ngram_size", "logit_bias", "dry_multiplier", "dry_base", "dry_allowed_length",
        "dry_range", "dry_sequence_breakers", "seed",
      ].contains($0.name)
    })
}

/// A sampler for hosts with a loop of their own. One thread uses it at a time.
package final class HostSampler: @unchecked Sendable {
  private var sampler: Sampler
  /// Tokens that may be chosen; nil for every row of the logits.
  private let usable: Int?

  /// `options` is checked. With a model its defaults fill in what they do not say, and its ids without text are
  /// never chosen.
  package init(_ options: JSONObject, model: Model?) throws(EngineError) {
    let read =
      try model?.options(options)
      ?? GenerationOptions(options, defaults: JSONObject(), stopIDs: [])
    guard model != nil || read.sampling.dry.multiplier == 0 else {
      throw EngineError(
        .option, "\"dry_multiplier\" needs a model, whose tokens end repetitions",
        key: "dry_multiplier", hint: "pass the model to qwen_sampler_open")
    }
    usable = model?.usableTokens
    sampler = Sampler(read.sampling, prompt: [], usable: usable ?? Int.max)
  }

  /// The seed in force.
  package var seed: UInt64 { sampler.seed }

  /// The tokens that may come behind `history` and their probabilities, likeliest first. Draws nothing.
  package func distribution(
    _ history: [Int32], _ logits: [Float]
  ) throws(EngineError) -> [(id: Int32, probability: Double)] {
    var (copy, row) = (sampler, logits)
    copy.setHistory(history)
    let found = unsafe row.withUnsafeMutableBufferPointer { row in
      if copy.options.isSampling { return unsafe copy.survivors(row, banned: []) }
      return unsafe copy.choose(row, banned: []).map { [(id: $0, probability: 1.0)] } ?? []
    }
    guard !found.isEmpty else { throw HostSampler.nothing }
    return found
  }

  /// Draws the token behind `history`.
  package func sample(_ history: [Int32], _ logits: [Float]) throws(EngineError) -> Int32 {
    var row = logits
    sampler.setHistory(history)
    let id = unsafe row.withUnsafeMutableBufferPointer { row in
      unsafe sampler.choose(row, banned: [])
    }
    guard let id else { throw HostSampler.nothing }
    return id
  }

  private static let nothing = EngineError(
    .numeric, "no token has a probability", hint: "check the logits, the bias and the penalties")
}
