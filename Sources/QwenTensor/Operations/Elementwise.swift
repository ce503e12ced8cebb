internal import CQwenKernels

extension Compute {
  /// Decodes row `ids[t]` of an embedding matrix into row t. The caller has checked the ids.
  package func embed(_ ids: ArraySlice<Int32>, from matrix: Matrix, into x: Rows)
    throws(TensorError)
  {
    guard x.columns == matrix.columns, x.tokens == ids.count else {
      throw .shape("\(ids.count) embeddings of \(matrix.columns) into \(x.tokens) rows")
    }
    for (token, id) in ids.enumerated() {
      guard id >= 0, id < matrix.rows else { throw .shape("token \(id) of \(matrix.rows)") }
      unsafe matrix.decodeRow(Int(id), into: x.row(token))
    }
  }

  /// y = x * weight / sqrt(mean(x^2) + epsilon), each token by itself; y may be x.
  ///
  /// Source: Zhang & Sennrich 2019, equation 4. Sums in float.
  package func normalize(_ x: Rows, _ weight: FloatBuffer, epsilon: Float, into y: Rows)
    throws(TensorError)
  {
    guard x.columns == weight.count, y.columns == x.columns, y.tokens == x.tokens else {
      throw .shape("norm of \(weight.count) over rows of \(x.columns)")
    }
    try perToken(
      NormJob(x: x, y: y, weight: weight, epsilon: epsilon), tokens: x.tokens,
      columns: x.columns)
  }
}

private struct NormJob: ParallelJob {
  let x: Rows
  let y: Rows
  let weight: FloatBuffer
  let epsilon: Float

  func run(part: Int, of count: Int) {
    for token in share(x.tokens, part: part, of: count) {
      unsafe qk_rms_norm(x.row(token), weight.pointer, epsilon, y.row(token), x.columns)
    }
  }
}

/// Reductions over one row of logits, for samplers and scores.
package enum LogitRow {
  /// Index of the largest value, the lowest on ties, nil if all are NaN.
  package static func argmax(_ values: UnsafeBufferPointer<Float>) -> Int? {
    let index = unsafe qk_argmax(values.baseAddress, values.count)
    return index < 0 ? nil : Int(index)
  }

  /// log(sum(exp(values))), summed in double in a fixed order.
  package static func logSumExp(_ values: UnsafeBufferPointer<Float>) -> Double {
    unsafe qk_log_sum_exp(values.baseAddress, values.count)
  }

  /// True if no value is NaN or infinite.
  package static func isFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
    unsafe qk_all_finite(values.baseAddress, values.count) == 1
  }
}
