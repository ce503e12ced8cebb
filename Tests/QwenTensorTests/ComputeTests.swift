import Glibc
import QwenTensor
import Testing

/// The pool for the length of a test.
private func withPool(_ body: () throws -> Void) rethrows {
  WorkerPool.shared.retain()
  defer { WorkerPool.shared.release() }
  try WorkerPool.shared.exclusive { try body() }
}

private func buffer(_ values: [Float]) throws -> FloatBuffer {
  let buffer = try FloatBuffer(count: values.count)
  buffer.pointer.update(from: values, count: values.count)
  return buffer
}

/// A random matrix of a format.
private func matrix(_ format: StorageFormat, _ rows: Int, _ columns: Int, seed: UInt64) throws
  -> Matrix
{
  var random = Random(state: seed)
  let rowBytes = try #require(format.rowBytes(columns: columns))
  let bytes = randomWeights(format, rows: rows, columns: columns, rowBytes: rowBytes, &random)
  let owner = try Buffer(byteCount: bytes.count)
  owner.address.copyMemory(from: bytes, byteCount: bytes.count)
  return try Matrix(
    format: format, rows: rows, columns: columns, address: owner.address,
    byteCount: bytes.count, owner: owner)
}

private func rows(_ tokens: Int, _ columns: Int, seed: UInt64) throws -> Rows {
  var random = Random(state: seed)
  return try Rows(buffer(random.floats(tokens * columns)), tokens: tokens, columns: columns)
}

private func compute(
  threads: Int = 1, isExact: Bool = false, tokens: Int = 40, control: RunControl = RunControl(),
  roundsToBFloat: Bool = false, blas: OpenBLAS? = nil
) throws -> Compute {
  try Compute(
    threads: threads, isExact: isExact, control: control, maximumTokens: tokens,
    maximumColumns: 512, roundsToBFloat: roundsToBFloat, blas: blas)
}

/// W x + b in double for decoded weights.
private func product(_ w: Linear, _ x: Rows) throws -> [Double] {
  let values = try w.weight.decoded().array()
  let (input, bias) = (x.array(), w.bias?.array())
  var result: [Double] = []
  for t in 0..<x.tokens {
    for r in 0..<w.weight.rows {
      var sum = Double(bias?[r] ?? 0)
      for k in 0..<x.columns {
        sum += Double(values[r * x.columns + k]) * Double(input[t * x.columns + k])
      }
      result.append(sum)
    }
  }
  return result
}

@Suite struct `Products of matrices` {
  @Test(arguments: StorageFormat.all.map(\.name))
  func `in exact mode are those of the decoded weights`(_ name: String) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let bias = (0..<37).map { Float($0) / 8 }
    let columns = fittingColumns(format, 320)
    let w = try Linear(matrix(format, 37, columns, seed: 1), bias: buffer(bias))
    let x = try rows(5, columns, seed: 2)
    let y = try Rows(FloatBuffer(count: 5 * 37), tokens: 5, columns: 37)
    try withPool { try compute(threads: 2, isExact: true).multiply(w, x, into: y) }
    // Values below 300 in magnitude, 48 sums in a chain.
    for (value, exact) in zip(y.array(), try product(w, x)) {
      #expect((Double(value) - exact).magnitude < 0x1p-24 * 300 * 48)
    }
  }

  @Test(arguments: [StorageFormat.bf16.name, StorageFormat.f32.name])
  func `round activations to bfloat16 only where weights are in it`(_ name: String) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let w = try Linear(matrix(format, 37, 301, seed: 1))
    let x = try rows(23, 301, seed: 2)
    let rounded = try rows(23, 301, seed: 2)
    for token in 0..<23 {
      for k in 0..<301 {
        let bits = rounded.row(token)[k].bitPattern
        rounded.row(token)[k] = Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
      }
    }
    func run(_ threads: Int, chunk: Int) throws -> [Float] {
      let y = try Rows(FloatBuffer(count: 23 * 37), tokens: 23, columns: 37)
      let compute = try compute(threads: threads, roundsToBFloat: true)
      try withPool {
        for first in stride(from: 0, to: 23, by: chunk) {
          let count = min(chunk, 23 - first)
          try compute.multiply(w, x.slice(first, count: count), into: y.slice(first, count: count))
        }
      }
      return y.array()
    }
    let whole = try run(2, chunk: 23)
    for (value, exact) in zip(whole, try product(w, format.ggmlType == 30 ? rounded : x)) {
      #expect((Double(value) - exact).magnitude < 0x1p-24 * 300 * 80)
    }
    #expect(try bits(run(1, chunk: 1)) == bits(whole))
    #expect(try bits(run(3, chunk: 5)) == bits(whole))
  }

  @Test(arguments: StorageFormat.all.map(\.name), [false, true])
  func `depend neither on threads nor on the batch`(_ name: String, _ isExact: Bool) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let columns = fittingColumns(format, 96)
    let w = try Linear(matrix(format, 131, columns, seed: 3))
    let x = try rows(23, columns, seed: 4)
    func run(threads: Int, chunk: Int) throws -> [UInt32] {
      let y = try Rows(FloatBuffer(count: 23 * 131), tokens: 23, columns: 131)
      let compute = try compute(threads: threads, isExact: isExact)
      try withPool {
        for first in stride(from: 0, to: 23, by: chunk) {
          let count = min(chunk, 23 - first)
          try compute.multiply(w, x.slice(first, count: count), into: y.slice(first, count: count))
        }
      }
      return bits(y.array())
    }
    let whole = try run(threads: 1, chunk: 23)
    for (threads, chunk) in [(1, 1), (2, 23), (3, 7), (5, 2)] {
      #expect(try run(threads: threads, chunk: chunk) == whole)
    }
  }

  @Test(arguments: StorageFormat.all.map(\.name))
  func `three at once, added and gated are made of the simple one`(_ name: String) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let bias = try buffer((0..<64).map { Float($0) })
    let columns = fittingColumns(format, 64)
    let a = try Linear(matrix(format, 64, columns, seed: 5), bias: bias)
    let b = try Linear(matrix(format, 64, columns, seed: 6))
    let c = try Linear(matrix(format, 19, columns, seed: 7))
    let x = try rows(6, columns, seed: 8)
    func empty(_ columns: Int) throws -> Rows {
      try Rows(FloatBuffer(count: 6 * columns), tokens: 6, columns: columns)
    }
    let (ya, yb, yc) = try (empty(64), empty(64), empty(19))
    let (za, zb, zc) = try (empty(64), empty(64), empty(19))
    let residual = try rows(6, 64, seed: 9)
    let before = residual.array()
    let (gated, scratch) = try (empty(64), empty(64))
    let compute = try compute(threads: 3)
    try withPool {
      try compute.multiply(a, x, into: ya)
      try compute.multiply(b, x, into: yb)
      try compute.multiply(c, x, into: yc)
      try compute.multiply(x, (a, za), (b, zb), (c, zc))
      try compute.multiplyAdd(a, x, into: residual)
      try compute.multiplyGated(gate: a, up: b, x, out: gated, scratch: scratch)
    }
    #expect(za.array() == ya.array() && zb.array() == yb.array() && zc.array() == yc.array())
    #expect(residual.array() == zip(before, ya.array()).map { $0 + $1 })
    for (value, (g, u)) in zip(gated.array(), zip(ya.array(), yb.array())) {
      let exact = Double(g) / (1 + exp(-Double(g))) * Double(u)
      #expect((Double(value) - exact).magnitude <= exact.magnitude * 5e-7 + 1e-30)
    }
  }

  @Test func `OpenBLAS gives the same to rounding, where it is installed`() throws {
    guard let blas = OpenBLAS.shared else { return }
    for format in StorageFormat.all {
      let columns = fittingColumns(format, 320)
      let w = try Linear(matrix(format, 37, columns, seed: 1))
      let x = try rows(5, columns, seed: 2)
      let y = try Rows(FloatBuffer(count: 5 * 37), tokens: 5, columns: 37)
      try withPool { try compute(threads: 2, isExact: true, blas: blas).multiply(w, x, into: y) }
      for (value, exact) in zip(y.array(), try product(w, x)) {
        #expect((Double(value) - exact).magnitude < 0x1p-24 * 300 * 48)
      }
    }
  }

  @Test func `a cancelled or late run stops with its reason`() throws {
    let control = RunControl()
    let compute = try compute(threads: 2, control: control)
    let w = try Linear(matrix(.f32, 8, 32, seed: 1))
    let x = try rows(2, 32, seed: 2)
    let y = try Rows(FloatBuffer(count: 16), tokens: 2, columns: 8)
    try withPool {
      control.begin(deadlineMilliseconds: nil)
      control.cancel()
      #expect(throws: TensorError.cancelled) { try compute.multiply(w, x, into: y) }
      control.begin(deadlineMilliseconds: 0)
      #expect(throws: TensorError.deadline) { try compute.multiply(w, x, into: y) }
      control.begin(deadlineMilliseconds: nil)
      try compute.multiply(w, x, into: y)
    }
  }

  @Test func `matrices that do not fit are refused`() throws {
    let compute = try compute(tokens: 2)
    let w = try Linear(matrix(.f32, 8, 32, seed: 1))
    let fits = try Rows(FloatBuffer(count: 16), tokens: 2, columns: 8)
    withPool {
      #expect(throws: TensorError.self) {
        try compute.multiply(w, rows(2, 31, seed: 1), into: fits)
      }
      #expect(throws: TensorError.self) {
        try compute.multiply(w, rows(1, 32, seed: 1), into: fits)
      }
      #expect(throws: TensorError.self) {
        try compute.multiply(w, rows(3, 32, seed: 1), into: rows(3, 8, seed: 1))
      }
    }
    #expect(throws: TensorError.self) {
      try Rows(fits.buffer, start: 1, tokens: 2, columns: 8)
    }
    #expect(throws: TensorError.self) { try Linear(w.weight, bias: buffer([1])) }
  }
}
