/// The bytes and the kind of every id, in flat arrays.
struct TokenBytes: Sendable {
  private(set) var blob: [UInt8] = []
  private(set) var starts: [UInt32] = []
  private(set) var ends: [UInt32] = []
  private(set) var kinds: [TokenKind] = []

  /// Ids beyond this are refused, so that one bad number in a file can't ask for gigabytes.
  static let idLimit = 1 << 21
  /// Bytes of text of all tokens together.
  static let byteLimit = 1 << 28

  /// Ids from 0 to the largest that was added, holes included.
  var count: Int { kinds.count }

  mutating func reserve(tokens: Int, bytes: Int) {
    starts.reserveCapacity(min(tokens, Self.idLimit))
    ends.reserveCapacity(min(tokens, Self.idLimit))
    kinds.reserveCapacity(min(tokens, Self.idLimit))
    blob.reserveCapacity(min(bytes, Self.byteLimit))
  }

  /// Where the text of an id lies in `blob`; an id without text is empty. `id` must be in range.
  @inline(__always)
  func bounds(_ id: Int32) -> (start: Int, end: Int) {
    (Int(starts[Int(id)]), Int(ends[Int(id)]))
  }

  @inline(__always)
  func equals(_ id: Int32, _ text: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    let (from, to) = bounds(id)
    if to &- from != end &- start { return false }
    var index = 0
    // UInt8 has no padding, so its bytes may be read raw; any 8 of them are a UInt64, and the spans check that they
    // are inside them.
    let (own, other) = unsafe (blob.span.bytes, text.bytes)
    while index &+ 8 <= to &- from {
      let left = unsafe own.unsafeLoadUnaligned(fromByteOffset: from &+ index, as: UInt64.self)
      let right = unsafe other.unsafeLoadUnaligned(fromByteOffset: start &+ index, as: UInt64.self)
      if left != right { return false }
      index &+= 8
    }
    while index < to &- from {
      if blob[from &+ index] != text[start &+ index] { return false }
      index &+= 1
    }
    return true
  }

  /// Adds text at the end of the blob byte by byte; `finish` gives it to an id.
  @inline(__always)
  mutating func append(_ byte: UInt8) { blob.append(byte) }

  /// Adds text at the end of the blob; `finish` gives it to an id.
  @inline(__always)
  mutating func append(_ bytes: Span<UInt8>) {
    unsafe bytes.withUnsafeBufferPointer { unsafe blob.append(contentsOf: $0) }
  }

  /// The same of the first `count` bytes.
  @inline(__always)
  mutating func append(_ bytes: [UInt8], count: Int) { append(bytes.span.extracting(0..<count)) }

  /// Makes everything appended since the blob had `start` bytes the text of `id`.
  ///
  /// Returns a complaint, or nil. An id that has text keeps the last one given.
  mutating func finish(from start: Int, id: Int, kind: TokenKind) -> String? {
    guard id >= 0, id < Self.idLimit else { return "token id \(id) is out of range" }
    guard blob.count <= Self.byteLimit else { return "the tokens are longer than 256 MiB" }
    if id == kinds.count {
      starts.append(UInt32(start))
      ends.append(UInt32(blob.count))
      kinds.append(kind)
      return nil
    }
    if id > kinds.count {
      let more = id + 1 - kinds.count
      starts.append(contentsOf: repeatElement(0, count: more))
      ends.append(contentsOf: repeatElement(0, count: more))
      kinds.append(contentsOf: repeatElement(.unused, count: more))
    }
    starts[id] = UInt32(start)
    ends[id] = UInt32(blob.count)
    kinds[id] = kind
    return nil
  }

  /// Adds a token from bytes; see `finish`.
  mutating func add(_ bytes: some Sequence<UInt8>, id: Int, kind: TokenKind) -> String? {
    let start = blob.count
    blob.append(contentsOf: bytes)
    return finish(from: start, id: id, kind: kind)
  }

  /// Changes what an id that has text stands for.
  mutating func setKind(_ kind: TokenKind, of id: Int) { kinds[id] = kind }
}
