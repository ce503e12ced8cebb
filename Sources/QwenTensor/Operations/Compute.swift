internal import CQwenKernels

/// What the operations of one session share: threads, mode, the control word and scratch memory.
///
/// Used by one forward pass at a time, within `WorkerPool.exclusive`. Allocates only when created.
@safe
package final class Compute: @unchecked Sendable {
  /// Parts a job is split into.
  package let threads: Int
  /// True: weights are decoded and multiplied as floats, exactly as a float32 reference does.
  package let isExact: Bool
  /// Whether activations of weights in bfloat16 are rounded to it; not beside `blas`.
  package let roundsToBFloat: Bool
  package let control: RunControl
  package let maximumTokens: Int
  package let maximumColumns: Int
  /// LLM.int8(): whether a column that is an outlier of one token is one of all tokens of a step, as bitsandbytes has
  /// it. Results then depend on what is computed together.
  package let sharesOutliers: Bool
  /// Serves float products if the host asked for OpenBLAS.
  package let blas: OpenBLAS?

  /// Rows decoded at once for formats without a float product.
  static let decodedRows = 8

  private let blocks: Buffer
  private let decoded: FloatBuffer
  private let outputs: FloatBuffer
  private var sorted: FloatBuffer?
  private var outlierBits: Buffer?
  private var rounded: Buffer?

  /// Scratch for up to `maximumTokens` tokens of up to `maximumColumns` values.
  package init(
    threads: Int, isExact: Bool, control: RunControl, maximumTokens: Int, maximumColumns: Int,
    sharesOutliers: Bool = false, roundsToBFloat: Bool = false, blas: OpenBLAS? = nil
  ) throws(TensorError) {
    self.roundsToBFloat = roundsToBFloat && blas == nil
    self.sharesOutliers = sharesOutliers
    self.threads = max(1, threads)
    self.isExact = isExact
    self.control = control
    self.maximumTokens = max(1, maximumTokens)
    self.maximumColumns = (max(1, maximumColumns) + 31) / 32 * 32
    self.blas = blas
    let blockCount = self.maximumTokens * (self.maximumColumns / 32)
    blocks = try Buffer(byteCount: blockCount * MemoryLayout<qk_a8_block>.stride)
    decoded = try FloatBuffer(
      count: self.threads * Self.decodedRows * self.maximumColumns)
    outputs = try FloatBuffer(count: self.maximumTokens * self.maximumColumns)
  }

  /// Bytes of scratch that `init` takes for these sizes, and with them the first product that rounds to bfloat16.
  package static func scratchBytes(
    threads: Int, tokens: Int, columns: Int, roundsToBFloat: Bool = false
  ) -> Int {
    let columns = (columns + 31) / 32 * 32
    return tokens * columns / 32 * MemoryLayout<qk_a8_block>.stride
      + threads * decodedRows * columns * 4 + tokens * columns * 4
      + (roundsToBFloat ? tokens * bfloatStride(columns) * 2 : 0)
  }

  /// Elements from one token to the next of activations in bfloat16: a line more than they have columns, since rows a
  /// power of two apart take each other's place in a cache.
  static func bfloatStride(_ columns: Int) -> Int { columns + 32 }

  @unsafe var blockPointer: UnsafeMutablePointer<qk_a8_block> {
    unsafe blocks.address.assumingMemoryBound(to: qk_a8_block.self)
  }

  @unsafe func decodedPointer(slot: Int) -> UnsafeMutablePointer<Float> {
    unsafe decoded.pointer + slot * Self.decodedRows * maximumColumns
  }

  /// Room for inputs in another order, made when the first model wants it.
  func gathered() throws(TensorError) -> FloatBuffer {
    if let sorted { return sorted }
    let made = try FloatBuffer(count: maximumTokens * maximumColumns)
    sorted = made
    return made
  }

  /// Room for a bit for each activation, made when the first model wants it: row t has columns / 32 words.
  func outliers() throws(TensorError) -> Buffer {
    if let outlierBits { return outlierBits }
    let made = try Buffer(byteCount: maximumTokens * maximumColumns / 8)
    outlierBits = made
    return made
  }

  /// Room for activations in bfloat16, made when the first model wants it; see `bfloatStride`.
  func bfloats() throws(TensorError) -> Buffer {
    if let rounded { return rounded }
    let made = try Buffer(byteCount: maximumTokens * Self.bfloatStride(maximumColumns) * 2)
    rounded = made
    return made
  }

  @unsafe var outputPointer: UnsafeMutablePointer<Float> { unsafe outputs.pointer }

  /// Parts for each thread: what a helper that is kept from running leaves to others, and a thread waits for at the
  /// end, is an eighth of a share.
  static let partsAThread = 8
  /// Threads beyond the processors count only up to here: smaller parts than theirs cost more than they gain.
  private static let leastSharers = 4

  /// Runs a job of up to `units` parts on the pool and throws if the run was told to stop meanwhile.
  func parallel<Job: ParallelJob & ~Copyable>(
    _ job: borrowing Job, units: Int
  ) throws(TensorError) {
    let sharers =
      threads == 1 ? 1 : min(threads, max(Self.leastSharers, WorkerPool.shared.mostThreads))
    let parts = sharers == 1 ? 1 : min(sharers * Self.partsAThread, max(1, units))
    WorkerPool.shared.run(job, parts: parts, threads: threads)
    try control.check()
  }

  /// Runs a job whose parts are tokens of `columns` values: on this thread alone if there is too little to do to wait
  /// for another one.
  func perToken<Job: ParallelJob & ~Copyable>(
    _ job: borrowing Job, tokens: Int, columns: Int
  ) throws(TensorError) {
    if tokens > 1, tokens * columns > 8192 {
      try parallel(job, units: tokens)
    } else {
      job.run(part: 0, of: 1, slot: 0)
    }
  }
}

/// The share of `count` items that part `part` of `parts` works on, in multiples of `unit`.
func share(_ count: Int, part: Int, of parts: Int, unit: Int = 1) -> Range<Int> {
  let units = (count + unit - 1) / unit
  let first = units * part / parts * unit
  let last = units * (part + 1) / parts * unit
  return min(first, count)..<min(last, count)
}
