package import QwenFormats
internal import QwenText

/// A token with its log probability and the likeliest others.
package struct TokenLogprob: Sendable {
  package var id: Int32
  package var text: String
  package var logprob: Float
  package var top: [(id: Int32, text: String, logprob: Float)]
}

/// Everything a finished run has to say.
package struct RunResult: Sendable {
  /// The answer: everything that was written or, of a chat that is taken apart, the content.
  package var text = ""
  /// Of a chat that is taken apart: everything that was written.
  package var rawText: String?
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
  /// Of a chat: the history with this turn, as pairs, and the answer as a message.
  package var history: [[String]]?
  package var message: JSONObject?
  /// Of a chat with tools: the calls.
  package var toolCalls: [JSONValue]?

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
    if let rawText { object["raw_text"] = .string(rawText) }
    if let toolCalls { object["tool_calls"] = .array(toolCalls) }
    if let message { object["message"] = .object(message) }
    if let history {
      object["history"] = .array(history.map { .array($0.map { .string($0) }) })
    }
    return .object(object)
  }

  private func rate(_ count: Int, _ seconds: Double) -> JSONValue {
    seconds > 0 ? .number(Double(count) / seconds) : .null
  }
}

extension RunResult {
  /// What a finished chat has to say of its answer; `answer` is nil where it is nothing but text.
  mutating func conclude(_ chat: ChatContext, _ answer: Answer?) {
    let written = text
    if let answer {
      rawText = text
      text = answer.content
      if chat.opening.syntax != nil { toolCalls = answer.calls.map(\.report) }
      if reason == .stop, !answer.calls.isEmpty { reason = .toolCalls }
    }
    var message: JSONObject = ["role": "assistant"]
    let content = (chat.continued ?? "") + text
    let calls = answer?.calls ?? []
    message["content"] = content.isEmpty && !calls.isEmpty ? .null : .string(content)
    if let reasoning = answer?.reasoning { message["reasoning_content"] = .string(reasoning) }
    if !calls.isEmpty { message["tool_calls"] = .array(calls.map(\.message)) }
    self.message = message
    // A turn that waits for its tools is not a pair yet. Pairs hold what the release's hold: in ReAct the
    // thoughts as well.
    history = chat.history
    if let query = chat.query, calls.isEmpty {
      let said = chat.opening.syntax == .react ? chat.opening.begun + written : content
      history?.append([query, said])
    }
  }
}

extension ToolCall {
  /// The call for the result: arguments as an object if they can be read, their text always.
  fileprivate var report: JSONValue {
    let reading = readArguments()
    var object: JSONObject = [
      "id": .string(id), "name": .string(name), "arguments": reading?.value ?? .null,
      "arguments_text": .string(argumentsText),
    ]
    if reading?.isRepaired == true { object["repaired"] = true }
    if reading?.isCut == true { object["cut"] = true }
    if reading == nil { object["error"] = "the arguments can't be read as an object" }
    return .object(object)
  }

  /// The call as OpenAI's messages have it; the arguments are JSON if they can be read, else as written.
  fileprivate var message: JSONValue {
    let reading = readArguments()
    let isPlain = reading?.isRepaired == false
    let text = isPlain ? argumentsText : reading?.value.serializedAsPython() ?? argumentsText
    return [
      "id": .string(id), "type": "function",
      "function": ["name": .string(name), "arguments": .string(text)],
    ]
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
