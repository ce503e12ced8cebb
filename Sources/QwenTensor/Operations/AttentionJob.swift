internal import CQwenKernels
internal import Glibc

/// Memory that attention needs for each thread: gathered queries, running softmax, limits.
@safe
package struct AttentionScratch: Sendable {
  /// Query vectors worked on at once: enough to reuse a page of keys from the first-level cache.
  /// 7 tiles of 8 in groups of 1, 2, 4, 7 and 8 heads.
  static let queries = 56
  /// Bytes of the next page's keys that are asked for while a page is worked on. Pages lie apart; from there on the
  /// processor's own prefetching goes on.
  static let ahead = 2048

  let vectors: FloatBuffer
  let limits: Buffer
  let queriesAThread: Int
  let headDim: Int

  /// Scratch for `threads` threads at a layer of this shape.
  package init(threads: Int, shape: AttentionShape) throws(TensorError) {
    queriesAThread = max(Self.queries, shape.queryHeads / max(1, shape.kvHeads))
    headDim = shape.headDim
    vectors = try FloatBuffer(count: threads * queriesAThread * (2 * headDim + 2))
    limits = try Buffer(byteCount: threads * queriesAThread * 2 * 4)
  }
}

/// Attention of one sequence, in units of (kv head, block of tokens).
///
/// A query's result depends on its own position only: pages are taken in rising order, aligned to
/// absolute positions, with one running softmax a query.
struct AttentionJob {
  let compute: Compute
  let query: Rows
  let out: Rows
  let shape: AttentionShape
  let layer: Int
  let span: SequenceSpan
  let scratch: AttentionScratch

  private var group: Int { shape.queryHeads / shape.kvHeads }
  private var blockTokens: Int { max(1, scratch.queriesAThread / group) }

  /// Units of work.
  var units: Int { (span.rows.count + blockTokens - 1) / blockTokens * shape.kvHeads }

  /// Does unit `unit`, the last tokens first: they see the most, and small units at the end leave no thread waiting.
  func run(unit: Int, slot: Int) {
    let (block, head) = (units - 1 - unit).quotientAndRemainder(dividingBy: shape.kvHeads)
    let first = block * blockTokens
    attend(
      head: head, group: group, tokens: first..<min(first + blockTokens, span.rows.count),
      slot: slot)
  }

  private func attend(head: Int, group: Int, tokens: Range<Int>, slot: Int) {
    let dim = shape.headDim
    let count = tokens.count * group
    let capacity = scratch.queriesAThread
    let base = unsafe scratch.vectors.pointer + slot * capacity * (2 * dim + 2)
    let (q, sums) = unsafe (base, base + capacity * dim)
    let maximum = unsafe base + 2 * capacity * dim
    let total = unsafe maximum + capacity
    let limits = unsafe scratch.limits.address.assumingMemoryBound(to: Int32.self)
    let first = unsafe limits + slot * capacity * 2
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
    let lastPage = last / KVShape.pagePositions
    for page in (earliest / KVShape.pagePositions)...lastPage {
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
      if page < lastPage {
        let next = unsafe span.cache.keys(page: page + 1, layer: layer, head: head)
        unsafe qk_prefetch_run(next, min(AttentionScratch.ahead, span.cache.shape.runBytes))
      }
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

/// Attention of several sequences in one parallel region. A part takes every `count`th unit: neighbours are alike.
struct SpansJob: ParallelJob {
  let compute: Compute
  let query: Rows
  let out: Rows
  let shape: AttentionShape
  let layer: Int
  let spans: [SequenceSpan]
  let scratch: AttentionScratch

  func run(part: Int, of count: Int) { run(part: part, of: count, slot: part) }

  func run(part: Int, of count: Int, slot: Int) {
    var before = 0
    for span in spans {
      let job = AttentionJob(
        compute: compute, query: query, out: out, shape: shape, layer: layer, span: span,
        scratch: scratch)
      var unit = (part - before % count + count) % count
      while unit < job.units, !compute.control.shouldStop {
        job.run(unit: unit, slot: slot)
        unit += count
      }
      before += job.units
    }
  }
}
