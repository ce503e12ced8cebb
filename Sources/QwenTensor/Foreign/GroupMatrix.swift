/// Codes of 4 or 8 bits in groups of inputs that share a scale and a zero, as GPTQ and AWQ store them, transposed:
/// scale * (q - zero).
package struct GroupMatrix: ForeignMatrix {
  /// How words of 32 bits hold codes and zeros.
  package enum Packing: Sendable, Equatable {
    /// Codes: consecutive inputs of one output in a word, lowest first. Zeros: consecutive outputs, lowest first, less
    /// `zeroBias`.
    case inputs(zeroBias: Int)
    /// Codes and zeros: eight outputs in a word in the order 0, 2, 4, 6, 1, 3, 5, 7.
    case outputs
  }

  package let rows: Int
  package let columns: Int
  package let order: [Int32]?
  private let bits: Int
  private let packing: Packing
  package let codes: ForeignBytes
  private let zeros: ForeignBytes
  private let scales: ForeignNumbers
  /// Group of each input.
  private let groupOf: [Int32]
  /// Group of each place of `order`.
  private let groups: [Int32]
  /// Codes in a word.
  private var perWord: Int { 32 / bits }
  /// The block format for these groups, nil if there is none.
  private let blocks: StorageFormat?

  /// Where output i of a word lies in it, in codes.
  private static let awqPlace = [0, 4, 1, 5, 2, 6, 3, 7]

  /// `groupOf` has the group of each input, all of them below the number of groups; nil for `groupSize` consecutive
  /// ones each.
  ///
  /// Throws `TensorError.shape` where the tensors are too small.
  package init(
    rows: Int, columns: Int, bits: Int, groupSize: Int, packing: Packing, codes: ForeignBytes,
    zeros: ForeignBytes, scales: ForeignNumbers, groupOf: [Int32]?
  ) throws(TensorError) {
    guard rows > 0, columns > 0, rows <= 1 << 24, columns <= 1 << 24, bits == 4 || bits == 8,
      groupSize > 0, columns % (32 / bits) == 0, rows % (32 / bits) == 0,
      bits == 4 || packing != .outputs
    else { throw .shape("[\(rows), \(columns)] of \(bits) bits is no whole number of words") }
    let groupCount = scales.count / rows
    guard codes.count >= rows * columns / 8 * bits, groupCount > 0,
      zeros.count >= rows * groupCount / 8 * bits
    else { throw .shape("too few words for [\(rows), \(columns)] of \(bits) bits") }
    let stated = groupOf ?? (0..<columns).map { Int32($0 / groupSize) }
    guard stated.count == columns, stated.allSatisfy({ $0 >= 0 && $0 < groupCount }) else {
      throw .shape("groups of inputs lie outside the \(groupCount) there are")
    }
    self.rows = rows
    self.columns = columns
    self.bits = bits
    self.packing = packing
    self.codes = codes
    self.zeros = zeros
    self.scales = scales
    // Inputs of a group side by side, in their order.
    let isSorted = zip(stated, stated.dropFirst()).allSatisfy { $0 <= $1 }
    let sorted =
      isSorted ? nil : (0..<columns).sorted { (stated[$0], $0) < (stated[$1], $1) }
    let groups = sorted.map { $0.map { stated[$0] } } ?? stated
    self.groupOf = stated
    self.groups = groups
    blocks = GroupMatrix.format(bits, groups, areHalves: scales.areHalves)
    order = blocks == nil ? nil : sorted.map { $0.map { Int32($0) } }
  }

  /// The widest blocks that lie in one group each.
  private static func format(_ bits: Int, _ groups: [Int32], areHalves: Bool) -> StorageFormat? {
    func fits(_ size: Int) -> Bool {
      groups.count % size == 0
        && stride(from: 0, to: groups.count, by: size).allSatisfy {
          groups[$0] == groups[$0 + size - 1]
        }
    }
    guard areHalves else { return nil }
    if bits == 8 { return fits(32) ? .z8 : nil }
    return fits(64) ? .z4_64 : fits(32) ? .z4_32 : nil
  }

  package var format: StorageFormat { blocks ?? .f32 }

  /// The code of output `row` and input `column`.
  private func code(_ row: Int, _ column: Int) -> UInt32 {
    let mask = UInt32(1) << bits - 1
    switch packing {
    case .inputs:
      let word = codes.load(column / perWord * rows + row, as: UInt32.self)
      return word >> (column % perWord * bits) & mask
    case .outputs:
      let word = codes.load(column * (rows / perWord) + row / perWord, as: UInt32.self)
      return word >> (GroupMatrix.awqPlace[row % perWord] * bits) & mask
    }
  }

  private func zero(_ row: Int, _ group: Int) -> Int {
    let word = zeros.load(group * (rows / perWord) + row / perWord, as: UInt32.self)
    let mask = UInt32(1) << bits - 1
    switch packing {
    case .inputs(let bias): return Int(word >> (row % perWord * bits) & mask) + bias
    case .outputs: return Int(word >> (GroupMatrix.awqPlace[row % perWord] * bits) & mask)
    }
  }

  package func decode(row: Int, into target: UnsafeMutablePointer<Float>) {
    for column in 0..<columns {
      let group = Int(groupOf[column])
      unsafe target[column] =
        Float(Int(code(row, column)) - zero(row, group)) * scales[group * rows + row]
    }
  }

  package func fill(_ range: Range<Int>, into target: UnsafeMutableRawPointer, rowBytes: Int) {
    let (size, blockBytes) = (format.blockElements, format.blockBytes)
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: columns) { scratch in
      guard let q = scratch.baseAddress else { return }
      for row in range {
        unsafe unpack(row, into: q)
        var block = unsafe target + (row - range.lowerBound) * rowBytes
        for first in stride(from: 0, to: columns, by: size) {
          let group = Int(groups[first])
          let scale = Float16(scales[group * rows + row])
          unsafe block.storeBytes(of: scale.bitPattern, as: UInt16.self)
          let zero = zero(row, group)
          if bits == 8 {
            unsafe block.storeBytes(
              of: UInt16(truncatingIfNeeded: zero), toByteOffset: 2, as: UInt16.self)
            unsafe (block + 4).copyMemory(from: q + first, byteCount: size)
          } else {
            unsafe block.storeBytes(
              of: UInt8(truncatingIfNeeded: zero), toByteOffset: 2, as: UInt8.self)
            let bytes = unsafe (block + 3).assumingMemoryBound(to: UInt8.self)
            for part in 0..<size / 32 {
              unsafe packNibbles(q + first + 32 * part, into: bytes + 16 * part)
            }
          }
          unsafe block += blockBytes
        }
      }
    }
  }

  /// The codes of output `row`, each at its place.
  private func unpack(_ row: Int, into q: UnsafeMutablePointer<UInt8>) {
    if let order {
      for (place, column) in order.enumerated() {
        unsafe q[place] = UInt8(truncatingIfNeeded: code(row, Int(column)))
      }
      return
    }
    let words = unsafe codes.address
    switch packing {
    case .inputs:
      // In bounds: the codes hold columns / perWord rows of words, checked when this was made.
      for word in 0..<columns / perWord {
        var value = unsafe words.loadUnaligned(
          fromByteOffset: 4 * (word * rows + row), as: UInt32.self)
        for k in 0..<perWord {
          unsafe q[word * perWord + k] = UInt8(truncatingIfNeeded: value) & UInt8(1 << bits - 1)
          value >>= UInt32(bits)
        }
      }
    case .outputs:
      let shift = UInt32(GroupMatrix.awqPlace[row % perWord] * bits)
      let stride = rows / perWord
      for column in 0..<columns {
        let value = unsafe words.loadUnaligned(
          fromByteOffset: 4 * (column * stride + row / perWord), as: UInt32.self)
        unsafe q[column] = UInt8(truncatingIfNeeded: value >> shift) & 15
      }
    }
  }
}
