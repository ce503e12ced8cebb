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
  package var repetitionPenalty = 1.0
  package var frequencyPenalty = 0.0
  package var presencePenalty = 0.0
  /// nil for one from the system.
  package var seed: UInt64?

  package init() {}

  /// `value` finds an option in request, model or table; a temperature in the request itself means sampling.
  init(_ request: JSONObject, _ value: (String) -> JSONValue) {
    temperature = value("temperature").double ?? 1
    let asksByTemperature = request["do_sample"] == nil && request["temperature"] != nil
    isSampling = (asksByTemperature || value("do_sample").bool ?? false) && temperature > 0
    topK = value("top_k").int ?? 0
    topP = value("top_p").double ?? 1
    minP = value("min_p").double ?? 0
    repetitionPenalty = value("repetition_penalty").double ?? 1
    frequencyPenalty = value("frequency_penalty").double ?? 0
    presencePenalty = value("presence_penalty").double ?? 0
    seed = value("seed").int.flatMap { UInt64(exactly: $0) }
  }
}
