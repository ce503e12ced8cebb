/// Reads little-endian values from the front of a region; the only place with raw loads.
///
/// Every read checks its bounds by subtraction first and throws with the offset in the file.
package struct ByteReader: Sendable {
  private let region: ByteRegion
  /// Bytes read so far.
  package private(set) var position = 0

  package init(_ region: ByteRegion) { self.region = region }

  /// Bytes not read yet.
  package var remaining: Int { region.count - position }
  /// Where the next byte lies in the file.
  package var offset: Int { region.offset + position }
  /// What is not read yet.
  package var rest: ByteRegion {
    ByteRegion(owner: region.owner, offset: offset, count: remaining)
  }
  /// The file, for messages.
  package var path: String { region.owner.path }

  package mutating func u8() throws(FormatError) -> UInt8 { try load(UInt8.self) }
  package mutating func u16() throws(FormatError) -> UInt16 { try load(UInt16.self) }
  package mutating func u32() throws(FormatError) -> UInt32 { try load(UInt32.self) }
  package mutating func u64() throws(FormatError) -> UInt64 { try load(UInt64.self) }
  package mutating func i8() throws(FormatError) -> Int8 { try load(Int8.self) }
  package mutating func i16() throws(FormatError) -> Int16 { try load(Int16.self) }
  package mutating func i32() throws(FormatError) -> Int32 { try load(Int32.self) }
  package mutating func i64() throws(FormatError) -> Int64 { try load(Int64.self) }
  package mutating func f32() throws(FormatError) -> Float { Float(bitPattern: try u32()) }
  package mutating func f64() throws(FormatError) -> Double { Double(bitPattern: try u64()) }

  /// The next `count` bytes, not copied.
  package mutating func bytes(_ count: Int) throws(FormatError) -> ByteRegion {
    let part = try region(count)
    position += count
    return part
  }

  /// Steps over `count` bytes.
  package mutating func skip(_ count: Int) throws(FormatError) { _ = try bytes(count) }

  /// A 64-bit number that counts or places something: one that does not fit an Int is an error.
  ///
  /// `what` names it in the message.
  package mutating func size(_ what: String) throws(FormatError) -> Int {
    let start = offset
    let value = try u64()
    guard let size = Int(exactly: value) else {
      throw FormatError(.malformed, path: path, offset: start, "\(what) is \(value)")
    }
    return size
  }

  /// The next `count` bytes as text; nil, and nothing read, if they are not UTF-8.
  package mutating func text(_ count: Int) throws(FormatError) -> String? {
    let part = try region(count)
    guard let text = part.text() else { return nil }
    position += count
    return text
  }

  /// An error at the next byte.
  package func failure(_ message: String, hint: String? = nil) -> FormatError {
    FormatError(.malformed, path: path, offset: offset, message, hint: hint)
  }

  private func region(_ count: Int) throws(FormatError) -> ByteRegion {
    guard count >= 0, count <= remaining else { throw tooShort(count) }
    return ByteRegion(owner: region.owner, offset: offset, count: count)
  }

  private mutating func load<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type
  ) throws(FormatError) -> T {
    let count = MemoryLayout<T>.size
    guard count <= remaining else { throw tooShort(count) }
    let start = position
    position += count
    // In bounds: start + count <= region.count, checked above.
    return unsafe region.withUnsafeBytes { bytes in
      unsafe T(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: T.self))
    }
  }

  private func tooShort(_ count: Int) -> FormatError {
    FormatError(
      .malformed, path: path, offset: offset,
      "ends too early: \(count) bytes are needed, \(remaining) are left",
      hint: "the download may be incomplete, compare its size and download it again")
  }
}

extension ByteRegion {
  /// The bytes as text; nil if they are not UTF-8.
  package func text() -> String? {
    unsafe withUnsafeBytes { bytes in
      unsafe bytes.withMemoryRebound(to: UInt8.self) {
        unsafe String(validating: $0, as: UTF8.self)
      }
    }
  }

  /// The bytes as text, with U+FFFD for what is not UTF-8.
  package func repairedText() -> String {
    unsafe withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }

  /// Whether the region starts with these bytes.
  package func starts(with prefix: some Collection<UInt8>) -> Bool {
    guard prefix.count <= count else { return false }
    return unsafe withUnsafeBytes { unsafe $0.prefix(prefix.count).elementsEqual(prefix) }
  }
}
