internal import CQwenKernels
internal import Glibc

/// Memory that attention needs for each part: gathered queries, running softmax, limits.
@safe
package struct AttentionScratch: Sendable {
  /// Query vectors worked on at once: enough to reuse a page of keys from the first-level cache.
  static let queries = 32

  let vectors: FloatBuffer
  let limits: Buffer
  let queriesAPart: Int
  let headDim: Int

  /// Scratch for `parts` parts of a layer of this shape.
  package init(parts: Int, shape: AttentionShape) throws(TensorError) {
    queriesAPart = max(Self.queries, shape.queryHeads / max(1, shape.kvHeads))
    headDim = shape.headDim
    vectors = try FloatBuffer(count: parts * queriesAPart * (2 * headDim + 2))
    limits = try Buffer(byteCount: parts * queriesAPart * 2 * 4)
  }
}

/// Attention of one sequence: units of (kv head, block of tokens) are dealt to the parts in turn.
///
/// A query's result depends on its own position only: pages are taken in rising order, aligned to
/// absolute positions, with one running softmax a query.
struct AttentionJob: ParallelJob {
  let compute: Compute
  let query: Rows
  let out: Rows
  let shape: AttentionShape
  let layer: Int
  let span: SequenceSpan
  let scratch: AttentionScratch

  func run(part: Int, of count: Int) {
    let group = shape.queryHeads / shape.kvHeads
    let blockTokens = max(1, scratch.queriesAPart / group)
    let blocks = (span.rows.count + blockTokens - 1) / blockTokens
    var unit = part
    while unit < blocks * shape.kvHeads, !compute.control.shouldStop {
      let (block, head) = unit.quotientAndRemainder(dividingBy: shape.kvHeads)
      let first = block * blockTokens
      attend(
        head: head, group: group, tokens: first..<min(first + blockTokens, span.rows.count),
        part: part)
      unit += count
    }
  }

  private func attend(head: Int, group: Int, tokens: Range<Int>, part: Int) {
    let dim = shape.headDim
    let count = tokens.count * group
    let capacity = scratch.queriesAPart
    let base = unsafe scratch.vectors.pointer + part * capacity * (2 * dim + 2)
    let (q, sums) = unsafe (base, base + capacity * dim)
    let maximum = unsafe base + 2 * capacity * dim
    let total = unsafe maximum + capacity
    let limits = unsafe scratch.limits.address.assumingMemoryBound(to: Int32.self)
    let first = unsafe limits + part * capacity * 2
    let visible = unsafe first + capacity

    for (index, token) in tokens.enumerated() {
      let row = unsafe query.row(span.rows.lowerBound + token) + head * group * dim
      let target = unsafe q + index * group * dim
      unsafe target.update(from: row, count: group * dim)
      unsafe qk_scale(target, scale(position: span.position + token), group * dim)
    }
    unsafe sums.update(repeating: 0, count: count * dim)
    unsafe maximum.update(repeating: -.infinity, count: count)
    unsafe total.update(repeating: 0, count: count)

    let last = span.position + tokens.upperBound - 1
    let kernels = unsafe span.cache.shape.element.kernels
    let earliest = firstVisible(span.position + tokens.lowerBound)
    for page in (earliest / KVShape.pagePositions)...(last / KVShape.pagePositions) {
      let start = page * KVShape.pagePositions
      for (index, token) in tokens.enumerated() {
        let position = span.position + token
        let sees = min(max(position + 1 - start, 0), KVShape.pagePositions)
        let from = min(max(firstVisible(position) - start, 0), sees)
        for member in 0..<group {
          unsafe visible[index * group + member] = Int32(sees)
          unsafe first[index * group + member] = Int32(from)
        }
      }
      let keys = unsafe span.cache.keys(page: page, layer: layer, head: head)
      let values = unsafe keys + span.cache.shape.runBytes
      unsafe kernels.attend(
        q, dim, count, keys, values, dim, first, visible, maximum, total, sums, dim)
    }
    for (index, token) in tokens.enumerated() {
      let row = unsafe out.row(span.rows.lowerBound + token) + head * group * dim
      for member in 0..<group {
        let from = unsafe sums + (index * group + member) * dim
        let weight = unsafe 1 / total[index * group + member]
        unsafe qk_scale(from, weight, dim)
        unsafe (row + member * dim).update(from: from, count: dim)
      }
    }
  }

  private func firstVisible(_ position: Int) -> Int {
    guard let window = shape.window else { return 0 }
    return max(0, position + 1 - window)
  }

  /// 1 / sqrt(D), times the LogN factor of long contexts.
  private func scale(position: Int) -> Float {
    let scale = 1 / Float(shape.headDim).squareRoot()
    guard let start = span.logScaleStart, start > 1, position + 1 > start else { return scale }
    return scale * Float(log(Double(position + 1)) / log(Double(start)))
  }
}
