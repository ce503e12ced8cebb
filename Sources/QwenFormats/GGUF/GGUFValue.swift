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

  /// Each element of an array of strings, lent to `body` with its index.
  ///
  /// Throws `.malformed` if the elements are no strings.
  package func forEachString(
    path: String, _ body: (Int, UnsafeRawBufferPointer) throws(FormatError) -> Void
  ) throws(FormatError) {
    guard elementType == .string else {
      throw FormatError(
        .malformed, path: path, offset: region.offset, "an array of strings is needed")
    }
    var reader = ByteReader(region)
    for index in 0..<count {
      let length = try reader.size("the length of a string")
      let bytes = try reader.bytes(length)
      try unsafe bytes.withUnsafeBytes { (bytes) throws(FormatError) in
        try unsafe body(index, bytes)
      }
    }
  }

  /// The elements as bytes; nil if they are no strings.
  package func strings() -> [[UInt8]]? {
    var strings: [[UInt8]] = []
    strings.reserveCapacity(count)
    do {
      try unsafe forEachString(path: "") { (_, bytes) throws(FormatError) in
        unsafe strings.append([UInt8](bytes))
      }
    } catch { return nil }
    return strings
  }

  /// The elements as integers; nil if they are not.
  package func integers() -> [Int]? {
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
