/// Some bytes of a file together with the owner that keeps them alive.
///
/// The only way in which raw memory passes from one target to another.
@safe package struct ByteRegion: Sendable {
  /// Keeps the memory alive.
  package let owner: FileBytes
  /// Where the region starts in its file.
  package let offset: Int
  /// Length in bytes.
  package let count: Int

  /// `offset` and `count` must lie inside the owner; `FileBytes.region` is the door that checks.
  init(owner: FileBytes, offset: Int, count: Int) {
    self.owner = owner
    self.offset = offset
    self.count = count
  }

  /// Lends the bytes; the pointer is good until `body` returns. No alignment is promised.
  package func withUnsafeBytes<R, E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    // In bounds by construction; self.owner lives across the call.
    try withExtendedLifetime(owner) { () throws(E) -> R in
      try unsafe body(UnsafeRawBufferPointer(start: address, count: count))
    }
  }

  /// Start of the bytes; good only as long as `owner` lives. No alignment is promised.
  @unsafe package var address: UnsafeRawPointer { unsafe owner.start + offset }

  /// A part of this region; one that does not lie inside is an error.
  package func region(offset: Int, count: Int) throws(FormatError) -> ByteRegion {
    guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else {
      throw FormatError(
        .malformed, path: owner.path, offset: self.offset,
        "a part of \(count) bytes at \(offset) lies outside its \(self.count) bytes")
    }
    return ByteRegion(owner: owner, offset: self.offset + offset, count: count)
  }

  /// A copy of the bytes; for small regions.
  package func array() -> [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }
}
