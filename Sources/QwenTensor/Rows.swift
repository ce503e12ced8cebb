/// Activations of several tokens: `tokens` rows of `columns` floats, row t at `start + t * stride`.
///
/// A view of a `FloatBuffer` that keeps it alive. Bounds are checked once, here.
@safe
package struct Rows: Sendable {
  package let buffer: FloatBuffer
  package let start: Int
  package let tokens: Int
  package let columns: Int
  package let stride: Int

  /// Throws `TensorError.shape` if the rows don't lie within the buffer.
  package init(
    _ buffer: FloatBuffer, start: Int = 0, tokens: Int, columns: Int, stride: Int? = nil
  ) throws(TensorError) {
    let stride = stride ?? columns
    guard start >= 0, tokens >= 0, columns >= 0, stride >= columns,
      tokens == 0 || start + (tokens - 1) * stride + columns <= buffer.count
    else {
      throw .shape("\(tokens) rows of \(columns) floats do not fit a buffer of \(buffer.count)")
    }
    self.buffer = buffer
    self.start = start
    self.tokens = tokens
    self.columns = columns
    self.stride = stride
  }

  /// Start of row `token`; valid while the buffer lives. The caller has checked `token`.
  @unsafe package func row(_ token: Int) -> UnsafeMutablePointer<Float> {
    unsafe buffer.pointer + start + token * stride
  }

  /// The rows from `first` on, `count` of them.
  package func slice(_ first: Int, count: Int) throws(TensorError) -> Rows {
    guard first >= 0, count >= 0, first + count <= tokens else {
      throw .shape("rows \(first)..<\(first + count) of \(tokens)")
    }
    return try Rows(
      buffer, start: start + first * stride, tokens: count, columns: columns, stride: stride)
  }

  /// A copy of the values, row after row.
  package func array() -> [Float] {
    (0..<tokens).flatMap { buffer.array(from: start + $0 * stride, count: columns) }
  }
}

/// Single rows; a token outside the rows is left alone.
extension Rows {
  /// Row `token` by itself.
  package func slice(_ token: Int) -> [Float] {
    guard (0..<tokens).contains(token) else { return [] }
    return buffer.array(from: start + token * stride, count: columns)
  }

  /// Fills row `token` with zeros.
  package func clear(_ token: Int) {
    guard (0..<tokens).contains(token) else { return }
    unsafe row(token).update(repeating: 0, count: columns)
  }

  /// Row `to` = row `token` of `source`, as wide as this.
  package func copy(_ source: Rows, _ token: Int, to: Int) {
    guard (0..<tokens).contains(to), (0..<source.tokens).contains(token), source.columns == columns
    else { return }
    unsafe row(to).update(from: source.row(token), count: columns)
  }

  /// Row `to` += row `token` of `source` * factor, each product rounded before it is added.
  package func add(_ source: Rows, _ token: Int, times factor: Float, to: Int) {
    guard (0..<tokens).contains(to), (0..<source.tokens).contains(token), source.columns == columns
    else { return }
    let (target, values) = unsafe (row(to), source.row(token))
    for column in 0..<columns {
      unsafe target[column] += values[column] * factor
    }
  }
}
