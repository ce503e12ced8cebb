internal import Synchronization

/// Memory of attention: for each thread gathered queries, running softmax and limits; and the states of stretches of
/// pages that threads share out among them. Used by one step at a time.
@safe
package final class AttentionScratch: @unchecked Sendable {
  /// Query vectors worked on at once: enough to reuse a page of keys from the first-level cache.
  /// 7 tiles of 8 in groups of 1, 2, 4, 7 and 8 heads.
  static let queries = 56
  /// Pages whose positions are attended to by themselves, aligned to absolute positions; then stretches are joined in
  /// their order. So threads may share them out and change no bit.
  static let stretchPages = 16
  /// Steps of a sequence with more tokens than this have work enough for all threads without.
  static let sharedTokens = 8

  let queriesAThread: Int
  let headDim: Int
  private let vectors: FloatBuffer
  private let limits: Buffer
  private var states: FloatBuffer
  private var counters: Buffer

  /// Scratch for `threads` threads at a layer of this shape.
  package init(threads: Int, shape: AttentionShape) throws(TensorError) {
    queriesAThread = max(Self.queries, shape.queryHeads / max(1, shape.kvHeads))
    headDim = shape.headDim
    vectors = try FloatBuffer(count: threads * queriesAThread * (3 * headDim + 4))
    limits = try Buffer(byteCount: threads * queriesAThread * 2 * 4)
    states = try FloatBuffer(count: 0)
    counters = try Buffer(byteCount: 0)
  }

  /// Makes room for `floats` of states of stretches and sets `count` counters to 0.
  func prepare(floats: Int, counters count: Int) throws(TensorError) {
    // Twice what is wanted: a text that grows asks seldom.
    if states.count < floats { states = try FloatBuffer(count: 2 * floats) }
    let bytes = count * MemoryLayout<Atomic<UInt32>>.stride
    if counters.byteCount < bytes { counters = try Buffer(byteCount: 2 * bytes) }
    for index in 0..<count { unsafe counter(index).pointee.store(0, ordering: .relaxed) }
  }

  /// Counts that another stretch is done; returns how many were before.
  func finish(counter index: Int) -> Int {
    Int(unsafe counter(index).pointee.add(1, ordering: .acquiringAndReleasing).oldValue)
  }

  private func counter(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    unsafe counters.address.assumingMemoryBound(to: Atomic<UInt32>.self) + index
  }

  /// Gathered queries of a thread.
  @unsafe func query(slot: Int) -> UnsafeMutablePointer<Float> {
    unsafe vectors.pointer + slot * queriesAThread * (3 * headDim + 4)
  }

  /// One of two states of a thread.
  func state(slot: Int, second: Bool) -> AttentionState {
    let size = queriesAThread * (headDim + 2)
    let start = unsafe query(slot: slot) + queriesAThread * headDim + (second ? size : 0)
    return unsafe AttentionState(start, queries: queriesAThread, dim: headDim)
  }

  /// The state of `queries` queries that begins at float `offset` of those of stretches.
  func state(at offset: Int, queries: Int) -> AttentionState {
    unsafe AttentionState(states.pointer + offset, queries: queries, dim: headDim)
  }

  /// The first position that each query of a thread sees in a page, and how many positions.
  @unsafe func limits(slot: Int) -> (
    first: UnsafeMutablePointer<Int32>, visible: UnsafeMutablePointer<Int32>
  ) {
    let first =
      unsafe limits.address.assumingMemoryBound(to: Int32.self) + slot * queriesAThread * 2
    return unsafe (first, first + queriesAThread)
  }
}

/// A running softmax of some queries: weighted sums of values, largest scores, sums of weights.
@safe
struct AttentionState {
  @unsafe let out: UnsafeMutablePointer<Float>
  @unsafe let maximum: UnsafeMutablePointer<Float>
  @unsafe let sum: UnsafeMutablePointer<Float>

  init(_ start: UnsafeMutablePointer<Float>, queries: Int, dim: Int) {
    unsafe out = start
    unsafe maximum = start + queries * dim
    unsafe sum = start + queries * (dim + 1)
  }

  /// Nothing seen.
  func clear(queries: Int, dim: Int) {
    unsafe out.update(repeating: 0, count: queries * dim)
    unsafe maximum.update(repeating: -.infinity, count: queries)
    unsafe sum.update(repeating: 0, count: queries)
  }
}
