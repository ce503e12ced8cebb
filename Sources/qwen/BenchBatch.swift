import CQwen

/// Answers of a batch, timed while all of them are being written.
struct BatchBench {
  let sequences: Int
  /// Tokens of each answer that are timed.
  let newTokens: Int
  /// Most tokens of prompts that a step reads.
  let chunk: Int

  /// Tokens per second of all answers together. First every prompt is read; then `newTokens` steps are timed, each of
  /// which writes a token of every answer. `options` are those that were given, of which those of the session count.
  func measure(
    _ model: borrowing Model, _ options: GivenOptions, ids: [Int32]
  ) throws(Failure) -> Double {
    var options = options
    options.set("session", "max_sequences", to: .number(sequences))
    // While later prompts are read, the first answers are under way, one token a step.
    let room = max(1, max(chunk, sequences) - sequences + 1)
    let answer = newTokens + (sequences * ids.count - 1) / room + 1 + sequences
    if options.value("session", "context") == nil {
      options.set("session", "context", to: .number(ids.count + answer))
    }
    var handle: qwen_batch?
    try check(qwen_batch_open(&handle, model.handle, options["session"].text))
    guard let handle else { throw .general("the library opened no batch") }
    defer { qwen_batch_close(handle) }
    for sequence in 0..<sequences {
      // Texts that differ from their first token on.
      let turn = sequence % max(1, ids.count)
      try submit(handle, Array(ids[turn...] + ids[..<turn]), answer)
    }
    let watch = StepWatch()
    var (steps, remaining, seconds) = (0, sequences, 0.0)
    while steps < newTokens, remaining == sequences {
      watch.isReading = false
      let start = monotonicSeconds()
      try check(
        qwen_batch_step(
          handle, noticeReading, Unmanaged.passUnretained(watch).toOpaque(), &remaining))
      guard !watch.isReading, remaining == sequences else { continue }
      seconds += monotonicSeconds() - start
      steps += 1
    }
    guard steps == newTokens else {
      throw .general(
        "the answers ended before \(newTokens) tokens of each were written together; a context of "
          + "\(ids.count + answer) tokens holds them (--context)")
    }
    return Double(sequences * steps) / seconds
  }

  /// Asks for an answer of `count` tokens.
  private func submit(
    _ batch: qwen_batch, _ prompt: [Int32], _ count: Int
  ) throws(Failure) {
    let request = JSON.object([
      ("prompt_ids", .array(prompt.map { .number(Int($0)) })), ("do_sample", .bool(false)),
      ("max_new_tokens", .number(count)), ("min_new_tokens", .number(count)),
    ])
    var number: Int64 = 0
    try check(qwen_batch_submit(batch, request.text, &number))
  }
}

/// What a step was about.
private final class StepWatch {
  var isReading = false
}

/// `qwen_batch_callback`: notes that a prompt was read.
private func noticeReading(
  request: Int64, event: UnsafePointer<qwen_event>?, user: UnsafeMutableRawPointer?
) -> Int32 {
  if let user, let event, event.pointee.kind == Int32(QWEN_EVENT_PROGRESS) {
    Unmanaged<StepWatch>.fromOpaque(user).takeUnretainedValue().isReading = true
  }
  return Int32(Interrupt.isPending ? QWEN_CANCEL : QWEN_CONTINUE)
}
