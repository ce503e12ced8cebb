internal import CQwen
internal import QwenEngine
internal import QwenFormats
internal import Synchronization

/// What this process has done with the library, for `qwen_describe("metrics")`.
enum Metrics {
  private struct Counts {
    var runs = 0
    var failedCalls = 0
    var promptTokens = 0
    var cachedTokens = 0
    var completionTokens = 0
    var drafted = 0
    var accepted = 0
    var prefillSeconds = 0.0
    var decodeSeconds = 0.0
  }

  private static let counts = Mutex(Counts())

  /// Counts a finished run.
  static func count(_ result: RunResult) {
    counts.withLock { counts in
      counts.runs += 1
      counts.promptTokens += result.promptTokens
      counts.cachedTokens += result.cachedTokens
      counts.completionTokens += result.ids.count
      counts.drafted += result.speculation?.drafted ?? 0
      counts.accepted += result.speculation?.accepted ?? 0
      counts.prefillSeconds += result.prefillSeconds
      counts.decodeSeconds += result.decodeSeconds
    }
    Log.write(QWEN_LOG_DEBUG) {
      "run: \(result.promptTokens) prompt tokens, \(result.cachedTokens) of them cached, "
        + "\(result.ids.count) generated, \(result.reason.rawValue), prefill "
        + "\(result.prefillSeconds) s, decode \(result.decodeSeconds) s"
    }
  }

  /// Counts a call that failed.
  static func countFailure(_ error: CallError) {
    counts.withLock { $0.failedCalls += 1 }
    let level = error.status == qwen_status(QWEN_ERROR_INTERNAL) ? QWEN_LOG_ERROR : QWEN_LOG_WARNING
    Log.write(level) { "\(statusName(error.status)): \(error.message)" }
  }

  static var description: JSONValue {
    let now = counts.withLock { $0 }
    return [
      "open": [
        "models": .integer(models.count), "sessions": .integer(sessions.count),
        "samplers": .integer(samplers.count), "batches": .integer(batches.count),
      ],
      "runs": .integer(now.runs), "failed_calls": .integer(now.failedCalls),
      "prompt_tokens": .integer(now.promptTokens), "cached_tokens": .integer(now.cachedTokens),
      "completion_tokens": .integer(now.completionTokens), "drafted_tokens": .integer(now.drafted),
      "accepted_tokens": .integer(now.accepted), "prefill_seconds": .number(now.prefillSeconds),
      "decode_seconds": .number(now.decodeSeconds),
    ]
  }
}
