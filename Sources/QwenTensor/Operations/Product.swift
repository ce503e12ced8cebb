internal import CQwenKernels

extension Compute {
  /// y = W x + b for each token.
  package func multiply(_ w: Linear, _ x: Rows, into y: Rows) throws(TensorError) {
    try product(x, Outputs(.init(w, y)), .store)
  }

  /// Three products of the same activations in one parallel region: queries, keys and values.
  package func multiply(
    _ x: Rows, _ a: (Linear, Rows), _ b: (Linear, Rows), _ c: (Linear, Rows)
  ) throws(TensorError) {
    try product(x, Outputs(.init(a.0, a.1), .init(b.0, b.1), .init(c.0, c.1)), .store)
  }

  /// residual += W x + b.
  package func multiplyAdd(_ w: Linear, _ x: Rows, into residual: Rows) throws(TensorError) {
    try product(x, Outputs(.init(w, residual)), .add)
  }

  /// out = silu(G x) * (U x), the first half of a gated MLP; `up` [T, I] is scratch.
  package func multiplyGated(
    gate: Linear, up: Linear, _ x: Rows, out: Rows, scratch: Rows
  ) throws(TensorError) {
    try product(x, Outputs(.init(gate, out), .init(up, scratch)), .gate)
  }

  private func product(
    _ x: Rows, _ outputs: Outputs, _ mode: ProductJob.Mode
  ) throws(TensorError) {
    for index in 0..<outputs.count {
      let output = outputs[index]
      let w = output.linear.weight
      guard w.columns == x.columns, w.rows == output.rows.columns,
        x.tokens == output.rows.tokens, x.tokens <= maximumTokens,
        w.columns <= maximumColumns, mode != .add || w.rows <= maximumColumns
      else {
        throw .shape(
          "[\(w.rows), \(w.columns)] times [\(x.tokens), \(x.columns)] into "
            + "[\(output.rows.tokens), \(output.rows.columns)]")
      }
    }
    guard x.tokens > 0 else { return }
    let order = outputs[0].linear.order
    let hasOutliers = unsafe outputs[0].linear.weight.format.outlierProduct != nil
    for index in 1..<outputs.count {
      let other = outputs[index].linear
      if other.order === order, unsafe (other.weight.format.outlierProduct != nil) == hasOutliers {
        continue
      }
      return try separately(x, outputs, mode)
    }
    if let order {
      try ordered(x, order, outputs, mode)
    } else {
      try compute(x, outputs, mode)
    }
  }

  /// Products whose matrices want their inputs in several orders or roundings, one after the other.
  private func separately(
    _ x: Rows, _ outputs: Outputs, _ mode: ProductJob.Mode
  ) throws(TensorError) {
    for index in 0..<outputs.count {
      try product(x, Outputs(outputs[index]), mode == .add ? .add : .store)
    }
    guard mode == .gate else { return }
    try perToken(
      GateJob(gate: outputs[0].rows, up: outputs[1].rows), tokens: x.tokens,
      columns: outputs[0].rows.columns)
  }

  /// The same with inputs in the order that the matrices want; they share one.
  private func ordered(
    _ x: Rows, _ order: InputOrder, _ outputs: Outputs, _ mode: ProductJob.Mode
  ) throws(TensorError) {
    let sorted = try Rows(try gathered(), tokens: x.tokens, columns: x.columns)
    try perToken(
      GatherJob(order: order, x: x, sorted: sorted), tokens: x.tokens, columns: x.columns)
    try compute(sorted, outputs, mode)
  }

  private func compute(
    _ x: Rows, _ outputs: Outputs, _ mode: ProductJob.Mode
  ) throws(TensorError) {
    var outliers: Buffer?
    if !isExact, unsafe outputs[0].linear.weight.format.outlierProduct != nil {
      let bits = try self.outliers()
      try perToken(
        RowQuantizeJob(compute: self, x: x, outliers: bits), tokens: x.tokens, columns: x.columns)
      if sharesOutliers { shareOutliers(x, bits) }
      outliers = bits
    } else if !isExact, outputs.takesBlocks {
      try perToken(QuantizeJob(compute: self, x: x), tokens: x.tokens, columns: x.columns)
    }
    var bfloats: Buffer?
    if roundsToBFloat, outputs.takesBFloats {
      let rounded = try self.bfloats()
      try perToken(BFloatJob(x: x, rounded: rounded), tokens: x.tokens, columns: x.columns)
      bfloats = rounded
    }
    try parallel(
      ProductJob(
        compute: self, x: x, outputs: outputs, mode: mode, outliers: outliers, bfloats: bfloats),
      units: outputs.mostRows / ProductJob.unit)
  }
}

/// One matrix of a product and where its result goes.
struct Output: Sendable {
  let linear: Linear
  let rows: Rows

  init(_ linear: Linear, _ rows: Rows) {
    self.linear = linear
    self.rows = rows
  }
}

/// gate = silu(gate) * up, a share of the tokens a part.
private struct GateJob: ParallelJob {
  let gate: Rows
  let up: Rows

  func run(part: Int, of count: Int) {
    for token in share(gate.tokens, part: part, of: count) {
      unsafe qk_silu_multiply(gate.row(token), up.row(token), gate.row(token), gate.columns)
    }
  }
}

/// Puts inputs in order, a share of the tokens a part.
private struct GatherJob: ParallelJob {
  let order: InputOrder
  let x: Rows
  let sorted: Rows

  func run(part: Int, of count: Int) {
    for token in share(x.tokens, part: part, of: count) {
      unsafe order.gather(x.row(token), into: sorted.row(token))
    }
  }
}

/// One to three matrices that share their activations; in place, so that a product allocates nothing.
struct Outputs: Sendable {
  private let first: Output
  private let second: Output?
  private let third: Output?

  init(_ first: Output, _ second: Output? = nil, _ third: Output? = nil) {
    (self.first, self.second, self.third) = (first, second, third)
  }

  var count: Int { third != nil ? 3 : second != nil ? 2 : 1 }

  /// Output `index` < `count`.
  subscript(index: Int) -> Output {
    switch index {
    case 1: second ?? first
    case 2: third ?? first
    default: first
    }
  }

  /// Rows of the largest matrix.
  var mostRows: Int {
    var most = 0
    for index in 0..<count { most = max(most, self[index].linear.weight.rows) }
    return most
  }

  /// Whether any of the matrices multiplies 8-bit blocks.
  var takesBlocks: Bool {
    for index in 0..<count where unsafe self[index].linear.weight.format.blockProduct != nil {
      return true
    }
    return false
  }

  /// Whether any of the matrices can multiply activations in bfloat16.
  var takesBFloats: Bool {
    for index in 0..<count where unsafe self[index].linear.weight.format.bfloatProduct != nil {
      return true
    }
    return false
  }
}

/// Rounds activations to bfloat16, a share of the tokens a part.
private struct BFloatJob: ParallelJob {
  let x: Rows
  let rounded: Buffer

  func run(part: Int, of count: Int) {
    for token in share(x.tokens, part: part, of: count) {
      unsafe qk_bf16_encode(
        x.row(token), rounded.address + token * Compute.bfloatStride(x.columns) * 2, x.columns)
    }
  }
}

/// Quantises activations to 8-bit blocks, a share of the tokens a part.
private struct QuantizeJob: ParallelJob {
  let compute: Compute
  let x: Rows

  func run(part: Int, of count: Int) {
    for token in share(x.tokens, part: part, of: count) {
      unsafe qk_a8_quantize(
        x.row(token), compute.blockPointer + token * (x.columns / 32), x.columns)
    }
  }
}

/// The bits of outliers of one token.
private func outlierWords(_ bits: Buffer, _ x: Rows, _ token: Int) -> UnsafeMutablePointer<UInt32> {
  unsafe bits.address.assumingMemoryBound(to: UInt32.self) + token * (x.columns / 32)
}

extension Compute {
  /// Makes what is an outlier of one token an outlier of all: their codes in such columns become 0.
  fileprivate func shareOutliers(_ x: Rows, _ bits: Buffer) {
    let words = x.columns / 32
    let all = unsafe bits.address.assumingMemoryBound(to: UInt32.self)
    for word in 0..<words {
      var union: UInt32 = 0
      for token in 0..<x.tokens { unsafe union |= all[token * words + word] }
      guard union != 0 else { continue }
      for token in 0..<x.tokens {
        let block = unsafe blockPointer + token * words + word
        unsafe qk_int8_clear(block, union & ~all[token * words + word])
        unsafe all[token * words + word] = union
      }
    }
  }
}

/// Rounds activations as LLM.int8() does, a share of the tokens a part.
private struct RowQuantizeJob: ParallelJob {
  let compute: Compute
  let x: Rows
  let outliers: Buffer

  func run(part: Int, of count: Int) {
    for token in share(x.tokens, part: part, of: count) {
      unsafe qk_int8_quantize(
        x.row(token), compute.blockPointer + token * (x.columns / 32),
        outlierWords(outliers, x, token), x.columns)
    }
  }
}

/// One matrix of a product, and where its result goes, as plain values: parts count no references. Valid as long as the
/// matrix and the rows.
@safe
private struct ProductTarget {
  @unsafe let weights: UnsafeRawPointer
  let rowBytes: Int
  let rows: Int
  @unsafe let blockProduct: StorageFormat.BlockProduct?
  @unsafe let outlierProduct: StorageFormat.OutlierProduct?
  @unsafe let floatProduct: StorageFormat.FloatProduct?
  @unsafe let bfloatProduct: StorageFormat.BFloatProduct?
  @unsafe let bias: UnsafePointer<Float>?
  @unsafe let y: UnsafeMutablePointer<Float>
  let stride: Int

  /// `compute` says which products are not to be used.
  init(_ output: Output, _ compute: Compute) {
    let w = output.linear.weight
    unsafe weights = w.address
    rowBytes = w.rowBytes
    rows = w.rows
    unsafe blockProduct = compute.isExact ? nil : w.format.blockProduct
    unsafe outlierProduct = w.format.outlierProduct
    unsafe floatProduct = compute.blas != nil ? nil : w.format.floatProduct
    unsafe bfloatProduct = compute.roundsToBFloat ? w.format.bfloatProduct : nil
    unsafe bias = output.linear.bias.map { unsafe UnsafePointer($0.pointer) }
    unsafe y = output.rows.row(0)
    stride = output.rows.stride
  }
}

/// Products of one set of activations with up to three matrices, a share of the rows a part.
///
/// Between row blocks of about a millisecond it looks at the control word.
@safe
private struct ProductJob: ParallelJob {
  enum Mode { case store, add, gate }

  private let compute: Compute
  private let control: RunControl
  private let outputs: Outputs
  private let mode: Mode
  private let targets: (ProductTarget, ProductTarget, ProductTarget)
  private let targetCount: Int
  @unsafe private let x: UnsafeMutablePointer<Float>
  private let xStride: Int
  private let tokens: Int
  private let columns: Int
  @unsafe private let blocks: UnsafeMutablePointer<qk_a8_block>
  @unsafe private let sums: UnsafeMutablePointer<Float>
  /// A bit for each activation of each token, where outliers are multiplied apart.
  @unsafe private let outliers: UnsafeMutablePointer<UInt32>?
  /// The activations in bfloat16, where a matrix multiplies them so.
  @unsafe private let bfloats: UnsafePointer<UInt16>?

  /// Multiplications between two looks at the control word: under a millisecond on one core.
  private static let blockWork = 32_000_000
  /// Shares begin at multiples of this, the largest tile of a kernel: half a tile takes as long as a whole.
  static let unit = 16

  init(compute: Compute, x: Rows, outputs: Outputs, mode: Mode, outliers: Buffer?, bfloats: Buffer?)
  {
    self.compute = compute
    control = compute.control
    self.outputs = outputs
    self.mode = mode
    func target(_ index: Int) -> ProductTarget {
      ProductTarget(outputs[index], compute)
    }
    targets = (target(0), target(1), target(2))
    targetCount = outputs.count
    unsafe self.x = x.row(0)
    xStride = x.stride
    tokens = x.tokens
    columns = x.columns
    unsafe blocks = compute.blockPointer
    unsafe sums = compute.outputPointer
    unsafe self.outliers = outliers.map { unsafe outlierWords($0, x, 0) }
    unsafe self.bfloats = bfloats.map {
      unsafe UnsafePointer($0.address.assumingMemoryBound(to: UInt16.self))
    }
  }

  func run(part: Int, of count: Int) { run(part: part, of: count, slot: part) }

  func run(part: Int, of count: Int, slot: Int) {
    switch mode {
    case .store:
      for index in 0..<targetCount {
        let target = target(index)
        forEachBlock(rows: target.rows, part, count) { rows in
          multiply(target, index, rows, slot: slot)
        }
      }
    case .add:
      forEachBlock(rows: targets.0.rows, part, count) { rows in
        multiplyAdd(targets.0, rows, slot: slot)
      }
    case .gate:
      let (gate, up) = (targets.0, targets.1)
      forEachBlock(rows: gate.rows, part, count) { rows in
        multiply(gate, 0, rows, slot: slot)
        multiply(up, 1, rows, slot: slot)
        for token in 0..<tokens {
          let target = unsafe gate.y + token * gate.stride + rows.lowerBound
          unsafe qk_silu_multiply(
            target, up.y + token * up.stride + rows.lowerBound, target, rows.count)
        }
      }
    }
  }

  private func target(_ index: Int) -> ProductTarget {
    index == 0 ? targets.0 : index == 1 ? targets.1 : targets.2
  }

  private func forEachBlock(
    rows total: Int, _ part: Int, _ count: Int, _ body: (Range<Int>) -> Void
  ) {
    let rows = share(total, part: part, of: count, unit: Self.unit)
    let step = max(Self.unit, Self.blockWork / max(1, columns * tokens) / Self.unit * Self.unit)
    var first = rows.lowerBound
    while first < rows.upperBound, !control.shouldStop {
      let last = min(first + step, rows.upperBound)
      body(first..<last)
      first = last
    }
  }

  /// Rows `rows` of W x + b into the same columns of output `index`.
  private func multiply(_ target: ProductTarget, _ index: Int, _ rows: Range<Int>, slot: Int) {
    let y = unsafe target.y + rows.lowerBound
    unsafe raw(target, index, rows, y: y, stride: target.stride, slot: slot)
    guard let bias = unsafe target.bias else { return }
    for token in 0..<tokens {
      unsafe qk_add(y + token * target.stride, bias + rows.lowerBound, rows.count)
    }
  }

  private func multiplyAdd(_ target: ProductTarget, _ rows: Range<Int>, slot: Int) {
    let sum = unsafe sums + rows.lowerBound
    unsafe raw(target, 0, rows, y: sum, stride: target.rows, slot: slot)
    for token in 0..<tokens {
      let product = unsafe sum + token * target.rows
      if let bias = unsafe target.bias {
        unsafe qk_add(product, bias + rows.lowerBound, rows.count)
      }
      unsafe qk_add(target.y + token * target.stride + rows.lowerBound, product, rows.count)
    }
  }

  /// y[t * stride + i] = row (rows.lowerBound + i) of W times token t.
  private func raw(
    _ target: ProductTarget, _ index: Int, _ rows: Range<Int>, y: UnsafeMutablePointer<Float>,
    stride: Int, slot: Int
  ) {
    let source = unsafe target.weights + rows.lowerBound * target.rowBytes
    if let product = unsafe target.blockProduct {
      unsafe product(
        source, target.rowBytes, rows.count, columns, blocks, columns / 32, tokens, y, stride)
      guard let outliers = unsafe outliers, let add = unsafe target.outlierProduct else { return }
      for token in 0..<tokens {
        unsafe add(
          source, target.rowBytes, rows.count, columns, x + token * xStride,
          outliers + token * (columns / 32), y + token * stride)
      }
    } else if let bfloats = unsafe bfloats, let product = unsafe target.bfloatProduct {
      unsafe product(
        source, target.rowBytes, rows.count, columns, bfloats, Compute.bfloatStride(columns),
        tokens, y, stride)
    } else if let product = unsafe target.floatProduct {
      unsafe product(
        source, target.rowBytes, rows.count, columns, x, xStride, tokens, y, stride)
    } else {
      unsafe decodedProduct(outputs[index].linear.weight, rows, y: y, stride: stride, slot: slot)
    }
  }

  /// The general way: decode a few rows, multiply them as floats.
  private func decodedProduct(
    _ w: Matrix, _ rows: Range<Int>, y: UnsafeMutablePointer<Float>, stride: Int, slot: Int
  ) {
    let scratch = unsafe compute.decodedPointer(slot: slot)
    var first = rows.lowerBound
    while first < rows.upperBound {
      let count = min(Compute.decodedRows, rows.upperBound - first)
      for row in 0..<count {
        unsafe w.decodeRow(first + row, into: scratch + row * w.columns)
      }
      let target = unsafe y + (first - rows.lowerBound)
      if let blas = compute.blas {
        unsafe blas.multiply(
          weights: scratch, rows: count, columns: w.columns, x: x, xStride: xStride,
          tokens: tokens, y: target, yStride: stride)
      } else {
        unsafe qk_f32_matmul(
          scratch, w.columns * 4, count, w.columns, x, xStride, tokens, target, stride)
      }
      first += count
    }
  }
}
