/// One value of a GGUF file's metadata.
package enum GGUFValue: Sendable {
  case unsigned(UInt64)
  case signed(Int64)
  case number(Double)
  case bool(Bool)
  /// Text as it lies in the file; checked for UTF-8 when it is asked for.
  case string(ByteRegion)
  case array(GGUFArray)
}

/// An array of metadata: its elements stay in the file until they are asked for.
package struct GGUFArray: Sendable {
  /// Type number of the elements.
  let elementType: GGUFType
  package let count: Int
  /// The bytes of all elements.
  let region: ByteRegion

  /// The bytes of an array of strings, each behind its length; nil if the elements are no strings. `string(in:at:)`
  /// steps through them.
  package var strings: ByteRegion? { elementType == .string ? region : nil }

  /// Where the string lies whose length is at `offset` of the bytes of an array; nil if it does not lie inside, as in
  /// a mapped file that has changed since it was opened. The next length follows it.
  package static func string(in bytes: Span<UInt8>, at offset: Int) -> Range<Int>? {
    guard offset >= 0, offset <= bytes.count - 8 else { return nil }
    // UInt8 has no padding, so its bytes may be read raw; any 8 of them are a UInt64, and the span checks that they
    // are inside it.
    let length = unsafe UInt64(
      littleEndian: bytes.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
    let start = offset + 8
    guard length <= UInt64(bytes.count - start) else { return nil }
    return start..<start + Int(length)
  }

  /// How many strings lie in `bytes` one behind the other, up to `limit`, and where the last of them ends.
  static func soundStrings(
    in bytes: Span<UInt8>, atMost limit: Int
  ) -> (count: Int, end: Int) {
    var (count, end) = (0, 0)
    while count < limit, let place = string(in: bytes, at: end) {
      end = place.upperBound
      count += 1
    }
    return (count, end)
  }

  /// The elements as integers; nil if they are not.
  package func integers() -> [Int]? {
    if elementType == .i32 { return words().map { Int(Int32(bitPattern: $0)) } }
    if elementType == .u32 { return words().map { Int($0) } }
    var reader = ByteReader(region)
    var values: [Int] = []
    values.reserveCapacity(count)
    do {
      for _ in 0..<count {
        guard let value = try GGUFFile.scalar(elementType, &reader).int else { return nil }
        values.append(value)
      }
    } catch { return nil }
    return values
  }

  /// The elements of an array of 4 bytes each.
  private func words() -> [UInt32] {
    unsafe region.withUnsafeBytes { bytes in
      // The region has 4 bytes for each element: GGUFFile cut it so.
      (0..<count).map { index in
        unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))
      }
    }
  }

  /// The elements as numbers; nil if they are not.
  package func numbers() -> [Double]? {
    var reader = ByteReader(region)
    var values: [Double] = []
    values.reserveCapacity(count)
    do {
      for _ in 0..<count {
        guard let value = try GGUFFile.scalar(elementType, &reader).double else { return nil }
        values.append(value)
      }
    } catch { return nil }
    return values
  }
}

/// Type numbers of metadata values.
enum GGUFType: UInt32, Sendable {
  case u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64

  /// Bytes of a value of fixed size, nil for strings and arrays.
  var size: Int? {
    switch self {
    case .u8, .i8, .bool: 1
    case .u16, .i16: 2
    case .u32, .i32, .f32: 4
    case .u64, .i64, .f64: 8
    case .string, .array: nil
    }
  }
}

extension GGUFValue {
  /// An integer that fits, else nil.
  package var int: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .signed(let value): Int(exactly: value)
    default: nil
    }
  }

  /// Any number, else nil.
  package var double: Double? {
    switch self {
    case .unsigned(let value): Double(value)
    case .signed(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// Text that is UTF-8, else nil.
  package var string: String? { if case .string(let region) = self { region.text() } else { nil } }

  package var array: GGUFArray? { if case .array(let array) = self { array } else { nil } }
}
