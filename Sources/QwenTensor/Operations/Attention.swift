internal import CQwenKernels

/// The part of a step that belongs to one sequence: rows `rows` of the batch are its tokens at absolute
/// positions from `position` on.
package struct SequenceSpan: Sendable {
  package let cache: KVCache
  package let rows: Range<Int>
  package let position: Int
  /// From this 0-based position on a query is scaled by ln(position + 1) / ln(logScaleStart); nil for never.
  package let logScaleStart: Int?

  package init(cache: KVCache, rows: Range<Int>, position: Int, logScaleStart: Int? = nil) {
    self.cache = cache
    self.rows = rows
    self.position = position
    self.logScaleStart = logScaleStart
  }
}

/// What rotation and attention need to know of a layer.
package struct AttentionShape: Sendable {
  package let queryHeads: Int
  package let kvHeads: Int
  package let headDim: Int
  package let pairing: RotaryPairing
  /// A query sees this many positions, itself included; nil for all.
  package let window: Int?

  package init(
    queryHeads: Int, kvHeads: Int, headDim: Int, pairing: RotaryPairing, window: Int? = nil
  ) {
    self.queryHeads = queryHeads
    self.kvHeads = kvHeads
    self.headDim = headDim
    self.pairing = pairing
    self.window = window
  }
}

/// Norms over each head of queries and keys, before rotation (Qwen3).
package struct HeadNorms: Sendable {
  package let query: FloatBuffer
  package let key: FloatBuffer
  package let epsilon: Float

  package init(query: FloatBuffer, key: FloatBuffer, epsilon: Float) {
    self.query = query
    self.key = key
    self.epsilon = epsilon
  }
}

extension Compute {
  /// Rotates queries [T, Q*D] and keys [T, K*D] in place, then stores keys and values in the caches.
  ///
  /// Row t of the batch uses row t of `table`.
  package func rotateAndStore(
    query: Rows, key: Rows, value: Rows, norms: HeadNorms?, shape: AttentionShape,
    table: RotaryTable, layer: Int, spans: [SequenceSpan]
  ) throws(TensorError) {
    guard query.columns == shape.queryHeads * shape.headDim,
      key.columns == shape.kvHeads * shape.headDim, value.columns == key.columns,
      table.half * 2 <= shape.headDim
    else { throw .shape("queries of \(query.columns) and keys of \(key.columns) values") }
    let job = RotateJob(
      query: query, key: key, value: value, norms: norms, shape: shape, table: table,
      layer: layer, spans: spans)
    try perToken(job, tokens: query.tokens, columns: query.columns + 2 * key.columns)
  }

  /// out [T, Q*D] = softmax(q k / sqrt(D)) v over the positions each token may see.
  package func attend(
    query: Rows, out: Rows, shape: AttentionShape, layer: Int, spans: [SequenceSpan],
    scratch: AttentionScratch
  ) throws(TensorError) {
    guard query.columns == out.columns, query.tokens == out.tokens else {
      throw .shape("attention of \(query.columns) into \(out.columns)")
    }
    let pairs = spans.reduce(0) { $0 + $1.rows.count } * shape.kvHeads
    let job = SpansJob(
      compute: self, query: query, out: out, shape: shape, layer: layer, spans: spans,
      scratch: scratch, sharesStretches: threads > 1 && pairs < threads * Self.partsAThread)
    try parallel(job, units: try job.prepare())
  }
}

/// Rotates and stores, a share of the tokens of all sequences a part.
private struct RotateJob: ParallelJob {
  let query: Rows
  let key: Rows
  let value: Rows
  let norms: HeadNorms?
  let shape: AttentionShape
  let table: RotaryTable
  let layer: Int
  let spans: [SequenceSpan]

  func run(part: Int, of count: Int) {
    let mine = share(query.tokens, part: part, of: count)
    for span in spans where span.rows.overlaps(mine) {
      rotate(span, rows: span.rows.clamped(to: mine))
    }
  }

  private func rotate(_ span: SequenceSpan, rows: Range<Int>) {
    let dim = shape.headDim
    for row in rows {
      for head in 0..<shape.queryHeads {
        unsafe rotate(query.row(row) + head * dim, row: row, norm: norms?.query)
      }
      for head in 0..<shape.kvHeads {
        unsafe rotate(key.row(row) + head * dim, row: row, norm: norms?.key)
        store(
          span.cache, row: row, head: head, position: span.position + row - span.rows.lowerBound)
      }
    }
  }

  private func rotate(_ x: UnsafeMutablePointer<Float>, row: Int, norm: FloatBuffer?) {
    if let norm, let norms {
      unsafe qk_rms_norm(x, norm.pointer, norms.epsilon, x, shape.headDim)
    }
    let cosine = unsafe table.cosine.pointer + row * table.half
    let sine = unsafe table.sine.pointer + row * table.half
    switch shape.pairing {
    case .halves: unsafe qk_rope_halves(x, cosine, sine, table.half)
    case .pairs: unsafe qk_rope_pairs(x, cosine, sine, table.half)
    }
  }

  private func store(_ cache: KVCache, row: Int, head: Int, position: Int) {
    let (page, slot) = position.quotientAndRemainder(dividingBy: KVShape.pagePositions)
    let kv = cache.shape
    let keys = unsafe cache.keys(page: page, layer: layer, head: head)
    let values = unsafe keys + kv.runBytes
    let kernels = unsafe kv.element.kernels
    let offset = head * shape.headDim
    unsafe kernels.storeKey(key.row(row) + offset, shape.headDim, slot, keys)
    unsafe kernels.storeValue(value.row(row) + offset, shape.headDim, slot, values)
  }
}
