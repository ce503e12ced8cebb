internal import CQwenKernels
internal import Glibc

/// Attention of one sequence, in units of (block of tokens, kv head), or of these and stretches of pages.
///
/// A query's result depends on its own position only: pages are taken in rising order, aligned to absolute positions, with
/// one running softmax a query and stretch; stretches are joined in rising order, by whoever finishes the last one.
struct AttentionJob {
  let compute: Compute
  let query: Rows
  let out: Rows
  let shape: AttentionShape
  let layer: Int
  let span: SequenceSpan
  let scratch: AttentionScratch
  /// Whether stretches are units of their own.
  let isShared: Bool
  /// Where the states of the span's units and its counters begin.
  let firstState: Int
  let firstCounter: Int

  private static let stretchPositions = AttentionScratch.stretchPages * KVShape.pagePositions

  private var group: Int { shape.queryHeads / shape.kvHeads }
  private var blockTokens: Int { max(1, scratch.queriesAThread / group) }
  private var blocks: Int { (span.rows.count + blockTokens - 1) / blockTokens }

  /// Units without stretches.
  var pairs: Int { blocks * shape.kvHeads }
  /// Units of work.
  var units: Int { pairs * (isShared ? stretches(0..<span.rows.count).count : 1) }
  /// Floats of the state of a unit.
  private var stateSize: Int { blockQueries * (shape.headDim + 2) }
  private var blockQueries: Int { min(span.rows.count, blockTokens) * group }
  /// Floats of the states of all units, and counters.
  var stateFloats: Int { isShared ? units * stateSize : 0 }
  var counters: Int { isShared ? pairs : 0 }

  /// Does unit `unit`, the last tokens first: they see the most, and small units at the end leave no thread waiting.
  func run(unit: Int, slot: Int) {
    guard isShared else { return attend(pair: unit, slot: slot) }
    let all = stretches(0..<span.rows.count)
    let (pair, index) = unit.quotientAndRemainder(dividingBy: all.count)
    let (head, tokens) = place(pair)
    gather(head: head, tokens: tokens, slot: slot)
    run(
      stretch: all.lowerBound + index, head: head, tokens: tokens, slot: slot,
      into: state(pair * all.count + index))
    guard scratch.finish(counter: firstCounter + pair) + 1 == all.count else { return }
    let sum = state(pair * all.count)
    for index in 1..<all.count {
      merge(state(pair * all.count + index), into: sum, queries: tokens.count * group)
    }
    store(sum, head: head, tokens: tokens)
  }

  private func attend(pair: Int, slot: Int) {
    let (head, tokens) = place(pair)
    gather(head: head, tokens: tokens, slot: slot)
    let sum = scratch.state(slot: slot, second: false)
    let all = stretches(tokens)
    run(stretch: all.lowerBound, head: head, tokens: tokens, slot: slot, into: sum)
    for stretch in all.dropFirst() {
      let part = scratch.state(slot: slot, second: true)
      run(stretch: stretch, head: head, tokens: tokens, slot: slot, into: part)
      merge(part, into: sum, queries: tokens.count * group)
    }
    store(sum, head: head, tokens: tokens)
  }

  private func place(_ pair: Int) -> (head: Int, tokens: Range<Int>) {
    let (block, head) = (pairs - 1 - pair).quotientAndRemainder(dividingBy: shape.kvHeads)
    let first = block * blockTokens
    return (head, first..<min(first + blockTokens, span.rows.count))
  }

  private func state(_ unit: Int) -> AttentionState {
    scratch.state(at: firstState + unit * stateSize, queries: blockQueries)
  }

  /// The stretches that some of these tokens see a position of.
  private func stretches(_ tokens: Range<Int>) -> Range<Int> {
    let first = firstVisible(span.position + tokens.lowerBound) / Self.stretchPositions
    return first..<(span.position + tokens.upperBound - 1) / Self.stretchPositions + 1
  }

  /// Copies the queries of some tokens, scaled, to where a thread works on them.
  private func gather(head: Int, tokens: Range<Int>, slot: Int) {
    let count = group * shape.headDim
    for (index, token) in tokens.enumerated() {
      let row = unsafe query.row(span.rows.lowerBound + token) + head * count
      let target = unsafe scratch.query(slot: slot) + index * count
      unsafe target.update(from: row, count: count)
      unsafe qk_scale(target, scale(position: span.position + token), count)
    }
  }

  /// Attention over one stretch.
  private func run(
    stretch: Int, head: Int, tokens: Range<Int>, slot: Int, into state: AttentionState
  ) {
    let (dim, count) = (shape.headDim, tokens.count * group)
    let kv = span.cache.shape
    let kernels = unsafe kv.element.kernels
    let (first, visible) = unsafe scratch.limits(slot: slot)
    state.clear(queries: count, dim: dim)
    let last = span.position + tokens.upperBound - 1
    let earliest = firstVisible(span.position + tokens.lowerBound)
    let start = stretch * AttentionScratch.stretchPages
    let from = max(start, earliest / KVShape.pagePositions)
    let to = min(start + AttentionScratch.stretchPages, last / KVShape.pagePositions + 1)
    for page in from..<max(from, to) {
      unsafe limit(first, visible, page: page, tokens: tokens)
      let keys = unsafe span.cache.keys(page: page, layer: layer, head: head)
      let values = unsafe keys + kv.runBytes
      let ahead =
        page + 1 < to ? unsafe span.cache.keys(page: page + 1, layer: layer, head: head) : nil
      unsafe kernels.attend(
        scratch.query(slot: slot), dim, count, keys, values, ahead, dim, first, visible,
        state.maximum, state.sum, state.out, dim)
    }
  }

  /// Which positions of a page each query sees.
  private func limit(
    _ first: UnsafeMutablePointer<Int32>, _ visible: UnsafeMutablePointer<Int32>, page: Int,
    tokens: Range<Int>
  ) {
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
  }

  private func merge(_ part: AttentionState, into sum: AttentionState, queries: Int) {
    unsafe qk_attention_merge(
      queries, shape.headDim, sum.maximum, sum.sum, sum.out, part.maximum, part.sum, part.out)
  }

  private func store(_ state: AttentionState, head: Int, tokens: Range<Int>) {
    let dim = shape.headDim
    for (index, token) in tokens.enumerated() {
      let row = unsafe out.row(span.rows.lowerBound + token) + head * group * dim
      for member in 0..<group {
        let from = unsafe state.out + (index * group + member) * dim
        let weight = unsafe 1 / state.sum[index * group + member]
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
  /// Whether short steps are shared out by stretches: there is too little to do for the threads otherwise.
  let sharesStretches: Bool

  /// Units of all sequences. Prepares the scratch memory of stretches.
  func prepare() throws(TensorError) -> Int {
    var (units, floats, counters) = (0, 0, 0)
    for span in spans {
      let job = self.job(span, state: floats, counter: counters)
      units += job.units
      floats += job.stateFloats
      counters += job.counters
    }
    try scratch.prepare(floats: floats, counters: counters)
    return units
  }

  func run(part: Int, of count: Int) { run(part: part, of: count, slot: part) }

  func run(part: Int, of count: Int, slot: Int) {
    var (before, floats, counters) = (0, 0, 0)
    for span in spans {
      let job = self.job(span, state: floats, counter: counters)
      var unit = (part - before % count + count) % count
      while unit < job.units, !compute.control.shouldStop {
        job.run(unit: unit, slot: slot)
        unit += count
      }
      before += job.units
      floats += job.stateFloats
      counters += job.counters
    }
  }

  private func job(_ span: SequenceSpan, state: Int, counter: Int) -> AttentionJob {
    AttentionJob(
      compute: compute, query: query, out: out, shape: shape, layer: layer, span: span,
      scratch: scratch,
      isShared: sharesStretches && span.rows.count <= AttentionScratch.sharedTokens,
      firstState: state, firstCounter: counter)
  }
}
