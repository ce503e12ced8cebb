internal import QwenFormats
internal import QwenTensor

extension Session {
  /// Hands each row of logits from token `first` of `ids` on to `body`, in order, valid during the call.
  ///
  /// The conversation is replaced by `ids`; what they share with it up to `first` is not evaluated again.
  package func forEachLogits(
    _ ids: [Int32], from first: Int,
    _ body: (Int, UnsafeBufferPointer<Float>) throws(EngineError) -> Void
  ) throws(EngineError) {
    let rows = model.configuration.vocabularyRows
    if let bad = ids.first(where: { $0 < 0 || Int($0) >= rows }) {
      throw EngineError(.argument, "token \(bad) is outside the vocabulary of \(rows)")
    }
    control.begin(deadlineMilliseconds: nil)
    conversation.truncate(min(conversation.reusable(ids, length: ids.count), first))
    _ = try conversation.align(to: ids)
    while tokens.count < ids.count {
      let start = tokens.count
      let end = min(ids.count, start + evaluator.maximumTokens)
      let hidden = try evaluator.evaluate(conversation, ids[start..<end])
      for position in max(first, start)..<max(end, max(first, start)) {
        try evaluator.computeLogits(hidden, first: position - start, count: 1)
        try evaluator.check(row: 0)
        try unsafe body(position, UnsafeBufferPointer(evaluator.row(0)))
      }
    }
  }

  /// ln p of each token given those before it: value i belongs to ids[i + 1].
  package func score(_ ids: [Int32]) throws(EngineError) -> [Float] {
    var scores: [Float] = []
    try unsafe forEachLogits(ids, from: 0) { (position, logits) throws(EngineError) in
      guard position + 1 < ids.count else { return }
      let total = unsafe LogitRow.logSumExp(logits)
      unsafe scores.append(Float(Double(logits[Int(ids[position + 1])]) - total))
    }
    return scores
  }
}
