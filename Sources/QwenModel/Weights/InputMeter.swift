package import QwenTensor

/// Mean squares of what goes into each matrix of a model: how much a rounding error in a column weighs.
///
/// Measured by one pass over random tokens, the same for every model: activations are large in the same few channels
/// whatever a model reads, so that no text is needed. Matrices come to memory one product at a time. For one thread.
@safe
package final class InputMeter {
  private struct Sum {
    var squares: [Double]
    var tokens: Int
  }

  /// By the addresses of matrices.
  private var sums: [UInt: Sum] = [:]
  /// What is in memory for the product under way.
  private var current: [Matrix] = []
  private let progress: WeightProgress
  private var seen = 0
  private let total: Int

  /// Tokens that are read.
  private static let tokens = 256

  /// Passes through `decoder`, whose weights are as they lie in the files.
  ///
  /// Throws `TensorError.memory`, `.cancelled` if `progress` returns false.
  init(
    _ decoder: any DecoderFamily, _ configuration: ModelConfiguration, threads: Int,
    progress: @escaping WeightProgress
  ) throws(TensorError) {
    self.progress = progress
    total = decoder.layers.reduce(1) { $0 + $1.linears.count }
    let count = max(1, min(InputMeter.tokens, configuration.trainedLength))
    let sequence = Sequence(
      cache: try KVCache(shape: configuration.kvShape(.f16), capacity: count))
    let workspace = try Workspace(
      configuration, maximumTokens: count, threads: threads, isExact: true, control: RunControl())
    let ids = InputMeter.randomTokens(count, below: configuration.vocabularyRows)
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    try WorkerPool.shared.exclusive { () throws(TensorError) in
      var step = try Step([Slice(sequence, ids[...])], configuration, workspace, observer: nil)
      step.meter = self
      try decoder.forward(step)
      try willMultiply(step.normed, decoder.weights.head)
    }
    release()
    decoder.weights.embedding.releasePages(0..<decoder.weights.embedding.rows)
  }

  /// Tokens of a generator of their own (splitmix64).
  private static func randomTokens(_ count: Int, below rows: Int) -> [Int32] {
    var state: UInt64 = 1
    return (0..<count).map { _ in
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      return Int32(truncatingIfNeeded: (z ^ z >> 31) % UInt64(max(1, rows)))
    }
  }

  /// Notes the rows [T, columns] that are about to be multiplied by these.
  func willMultiply(_ x: Rows, _ linears: Linear...) throws(TensorError) {
    release()
    seen += linears.count
    guard progress(Double(seen) / Double(total)) else { throw .cancelled }
    current = linears.map(\.weight)
    var squares = [Double](repeating: 0, count: x.columns)
    for token in 0..<x.tokens {
      let row = unsafe x.row(token)
      for column in 0..<x.columns {
        let value = unsafe Double(row[column])
        squares[column] += value * value
      }
    }
    for matrix in current {
      matrix.fetchPages(threads: 1)
      unsafe sums[UInt(bitPattern: matrix.address)] = Sum(squares: squares, tokens: x.tokens)
    }
  }

  private func release() {
    for matrix in current { matrix.releasePages(0..<matrix.rows) }
    current = []
  }

  /// The importance of the columns of `matrix`, with the mean 1; nil if nothing went through it.
  package func importance(_ matrix: Matrix) throws(TensorError) -> FloatBuffer? {
    guard let sum = unsafe sums[UInt(bitPattern: matrix.address)] else { return nil }
    let mean = sum.squares.reduce(0, +) / Double(max(1, sum.squares.count))
    guard mean > 0, mean.isFinite else { return nil }
    return try FloatBuffer(
      sum.squares.map { square in
        // The power 3/4: what is measured on few tokens is trusted less the further it is from the mean.
        let root = max(square / mean, 1e-3).squareRoot()
        return Float(root * root.squareRoot())
      })
  }
}
