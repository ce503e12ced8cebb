package import QwenFormats
internal import QwenText

/// The options of one run, after request, model and table were asked in this order.
package struct GenerationOptions: Sendable, Equatable {
  package var maximumNewTokens: Int
  package var minimumNewTokens: Int
  package var sampling: SamplingOptions
  package var stop: [String]
  package var stopIDs: Set<Int32>
  /// Alternatives reported for each token; nil for no log probabilities.
  package var logprobs: Int?
  package var deadlineMilliseconds: Int?
  package var special: SpecialChoice
  package var skipSpecial: Bool
  /// Every option with the value that took effect, but for `deadline_ms`: no clock can be replayed.
  package var filled: JSONObject
  /// Nil for no guesses ahead.
  package var speculation: SpeculationOptions?

  /// Control tokens recognised in a prompt's text.
  package enum SpecialChoice: Sendable, Equatable {
    case none, all
    case only([String])
  }

  /// `request` and `defaults` are checked objects of the table `OptionTable.generate`.
  package init(_ request: JSONObject, defaults: JSONObject, stopIDs modelStops: [Int32]) {
    let table = OptionTable.generate
    func value(_ name: String) -> JSONValue {
      request[name] ?? defaults[name] ?? table.fallback(name)
    }
    maximumNewTokens = value("max_new_tokens").int ?? 512
    minimumNewTokens = value("min_new_tokens").int ?? 0
    sampling = SamplingOptions(request, value)
    stop = GenerationOptions.strings(value("stop"))
    let asked = value("stop_ids").array?.compactMap { $0.int.flatMap { Int32(exactly: $0) } }
    stopIDs = Set(asked ?? modelStops)
    logprobs = value("logprobs").int
    deadlineMilliseconds = value("deadline_ms").int
    special =
      switch value("special") {
      case .string("all"): .all
      case .array(let texts): .only(texts.compactMap(\.string))
      default: .none
      }
    skipSpecial = value("skip_special").bool ?? true
    speculation = SpeculationOptions(value("speculative"))
    filled = JSONObject(
      table.options.map { ($0.name, value($0.name)) }
        .filter { !$0.1.isNull && $0.0 != "deadline_ms" })
    filled["do_sample"] = .bool(sampling.isSampling)
    filled["stop_ids"] = .array(stopIDs.sorted().map { .integer(Int($0)) })
  }

  static func strings(_ value: JSONValue) -> [String] {
    if let text = value.string { return text.isEmpty ? [] : [text] }
    return value.array?.compactMap(\.string).filter { !$0.isEmpty } ?? []
  }

  /// What took effect, for the result.
  package var description: JSONObject {
    var object: JSONObject = [
      "max_new_tokens": .integer(maximumNewTokens), "min_new_tokens": .integer(minimumNewTokens),
      "do_sample": .bool(sampling.isSampling), "temperature": .number(sampling.temperature),
      "top_k": .integer(sampling.topK), "top_p": .number(sampling.topP),
      "min_p": .number(sampling.minP),
      "repetition_penalty": .number(sampling.repetitionPenalty),
      "frequency_penalty": .number(sampling.frequencyPenalty),
      "presence_penalty": .number(sampling.presencePenalty),
      "stop": .array(stop.map { .string($0) }),
      "stop_ids": .array(stopIDs.sorted().map { .integer(Int($0)) }),
    ]
    for (name, value, usual) in sampling.extras where value != usual {
      object[name] = .number(value)
    }
    if !sampling.logitBias.isEmpty {
      object["logit_bias"] = .object(
        JSONObject(
          sampling.logitBias.sorted { $0.key < $1.key }.map {
            (String($0.key), JSONValue.number(Double($0.value)))
          }))
    }
    if let deadlineMilliseconds { object["deadline_ms"] = .integer(deadlineMilliseconds) }
    return object
  }
}

extension SamplingOptions {
  /// Options that a result names only where they are not as usual: name, value, what is usual.
  var extras: [(name: String, value: Double, usual: Double)] {
    [
      ("typical_p", typicalP, 1), ("epsilon_cutoff", epsilonCutoff, 0),
      ("eta_cutoff", etaCutoff, 0),
      ("no_repeat_ngram_size", Double(noRepeatNgram), 0), ("dry_multiplier", dry.multiplier, 0),
      ("xtc_probability", xtcProbability, 0), ("mirostat", mirostat == nil ? 0 : 2, 0),
    ]
  }
}

extension OptionTable {
  /// The value of an option that nobody names.
  func fallback(_ name: String) -> JSONValue {
    options.first { $0.name == name }?.fallback ?? .null
  }
}
