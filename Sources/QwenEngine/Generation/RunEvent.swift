/// What a run reports, one after the other.
package enum RunEvent: Sendable {
  /// The prompt is being read: fraction from 0 to 1.
  case progress(Double)
  /// A piece of the answer; `id` completed it, -1 for text that was held back until the end.
  case text(String, id: Int32, logprob: Float)
  /// A piece of the reasoning before the answer.
  case reasoning(String, id: Int32, logprob: Float)
  /// A call of a tool begins; one with an index that was there before takes its place.
  case call(index: Int, callID: String, name: String, id: Int32, logprob: Float)
  /// A piece of the text of a call's arguments.
  case arguments(index: Int, String, id: Int32, logprob: Float)
  /// The run is over.
  case done(RunResult)
}

/// Why a run ended.
package enum FinishReason: String, Sendable {
  case stop, length, cancelled, deadline
  /// The answer called tools and waits for their results.
  case toolCalls = "tool_calls"
}

/// What ended a run with reason `stop`.
package enum StopMatch: Sendable, Equatable {
  case text(String)
  case token(Int32)
}
