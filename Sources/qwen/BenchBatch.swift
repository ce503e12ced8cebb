import CQwen

/// Tokens per second of all answers of a batch together, while all of them are being said.
func measureBatch(
  _ model: borrowing Model, _ options: JSON, ids: [Int32], sequences: Int, newTokens: Int
) throws(Failure) -> Double {
  var handle: qwen_batch?
  try check(qwen_batch_open(&handle, model.handle, options.text))
  guard let handle else { throw .general("the library opened no batch") }
  defer { qwen_batch_close(handle) }
  for sequence in 0..<sequences {
    // Texts that differ from their first token on.
    let own = ids[(sequence % max(1, ids.count))...] + ids[..<(sequence % max(1, ids.count))]
    let request = JSON.object([
      ("prompt_ids", .array(own.map { .number(Int($0)) })), ("do_sample", .bool(false)),
      ("max_new_tokens", .number(newTokens)), ("min_new_tokens", .number(newTokens)),
    ])
    var number: Int64 = 0
    try check(qwen_batch_submit(handle, request.text, &number))
  }
  let watch = StepWatch()
  var (remaining, said, seconds) = (sequences, 0, 0.0)
  while remaining > 0 {
    let before = remaining
    watch.isReading = false
    let start = monotonicSeconds()
    try check(
      qwen_batch_step(
        handle, noticeReading, Unmanaged.passUnretained(watch).toOpaque(), &remaining))
    if !watch.isReading, before == sequences, remaining == sequences {
      said += sequences
      seconds += monotonicSeconds() - start
    }
  }
  guard seconds > 0 else { throw .general("the answers are too short to be measured together") }
  return Double(said) / seconds
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
