package import QwenFormats

/// A token with its log probability and the likeliest others.
package struct TokenLogprob: Sendable {
  package var id: Int32
  package var text: String
  package var logprob: Float
  package var top: [(id: Int32, text: String, logprob: Float)]
}

/// Everything a finished run has to say.
package struct RunResult: Sendable {
  package var text = ""
  package var ids: [Int32] = []
  package var reason = FinishReason.stop
  package var match: StopMatch?
  package var promptTokens = 0
  package var cachedTokens = 0
  package var prefillSeconds = 0.0
  package var decodeSeconds = 0.0
  package var seed: UInt64?
  package var logprobs: [TokenLogprob]?
  package var effectiveOptions = JSONObject()
  /// Of a run that guessed ahead: steps with guesses, tokens guessed, guesses that were right.
  package var speculation: (steps: Int, drafted: Int, accepted: Int)?
  /// What makes the same answer again.
  package var replay = JSONObject()
  /// Of a chat: the history with this turn, as pairs.
  package var history: [[String]]?

  /// Prompt tokens that this run evaluated.
  package var evaluatedTokens: Int { promptTokens - cachedTokens }

  /// The result as the header describes it.
  package var json: JSONValue {
    var object: JSONObject = [
      "text": .string(text), "ids": .array(ids.map { .integer(Int($0)) }),
      "finish_reason": .string(reason.rawValue),
    ]
    switch match {
    case .text(let text)?: object["stop_match"] = .string(text)
    case .token(let id)?: object["stop_match"] = .integer(Int(id))
    case nil: break
    }
    object["usage"] = [
      "prompt_tokens": .integer(promptTokens), "cached_tokens": .integer(cachedTokens),
      "evaluated_tokens": .integer(evaluatedTokens), "completion_tokens": .integer(ids.count),
    ]
    object["timings"] = [
      "prefill_seconds": .number(prefillSeconds), "decode_seconds": .number(decodeSeconds),
      "prefill_tokens_per_second": rate(evaluatedTokens, prefillSeconds),
      // The first token comes out of the prefill.
      "decode_tokens_per_second": rate(max(0, ids.count - 1), decodeSeconds),
    ]
    if let speculation {
      object["speculation"] = [
        "steps": .integer(speculation.steps), "drafted": .integer(speculation.drafted),
        "accepted": .integer(speculation.accepted),
      ]
    }
    if let seed { object["seed"] = .integer(Int(clamping: seed)) }
    if let logprobs { object["logprobs"] = .array(logprobs.map(\.json)) }
    object["effective_options"] = .object(effectiveOptions)
    object["replay"] = .object(replay)
    if let history {
      object["message"] = ["role": "assistant", "content": .string(text)]
      object["history"] = .array(history.map { .array($0.map { .string($0) }) })
    }
    return .object(object)
  }

  private func rate(_ count: Int, _ seconds: Double) -> JSONValue {
    seconds > 0 ? .number(Double(count) / seconds) : .null
  }
}

extension TokenLogprob {
  var json: JSONValue {
    [
      "id": .integer(Int(id)), "text": .string(text), "logprob": .number(Double(logprob)),
      "top": .array(
        top.map {
          [
            "id": .integer(Int($0.id)), "text": .string($0.text),
            "logprob": .number(Double($0.logprob)),
          ]
        }),
    ]
  }
}
