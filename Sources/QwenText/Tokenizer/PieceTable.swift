/// Open-addressing table from token bytes to id: one probe and no allocation for a usual piece.
///
/// A text of up to 7 bytes is its own key; a longer one has a 64-bit hash, and its bytes are compared.
struct PieceTable: Sendable {
  /// One place of the table, 16 bytes; `id` < 0 is empty.
  struct Slot: Sendable {
    var key: UInt64
    var id: Int32
  }

  private(set) var slots: [Slot]
  private(set) var mask: Int
  private(set) var shift: UInt64
  /// Beyond this many steps the keys were chosen by an enemy.
  private static let probeLimit = 4096

  /// An empty table with room for `capacity` tokens.
  init(capacity: Int) {
    var bits = 4
    while bits < 40, (1 << bits) < capacity &+ capacity / 2 { bits += 1 }
    slots = Array(repeating: Slot(key: 0, id: -1), count: 1 << bits)
    mask = (1 << bits) - 1
    shift = UInt64(64 - bits)
  }

  /// The key of `text[start ..< end]`.
  @inline(__always)
  static func key(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> UInt64 {
    let count = end &- start
    if count <= 7 {
      if text.count &- start >= 8 {
        // UInt8 has no padding, so its bytes may be read raw; any 8 of them are a UInt64, and the span checks that
        // they are inside it.
        let word = unsafe UInt64(
          littleEndian: text.bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt64.self))
        let bits = UInt64(truncatingIfNeeded: count) &<< 3
        return word & (1 &<< bits &- 1) | bits &<< 53
      }
      var key = UInt64(truncatingIfNeeded: count) &<< 56
      var shift: UInt64 = 0
      var index = start
      while index < end {
        key |= UInt64(text[index]) &<< shift
        shift &+= 8
        index &+= 1
      }
      return key
    }
    return longKey(text, start, end)
  }

  @inline(never)
  private static func longKey(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> UInt64 {
    // UInt8 has no padding, so its bytes may be read raw.
    let bytes = unsafe text.bytes
    var hash = UInt64(truncatingIfNeeded: end &- start) &* 0x9E37_79B9_7F4A_7C15
    var index = start
    while end &- index >= 8 {
      // Any 8 bytes are a UInt64, and the span checks that they are inside it.
      let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
      hash = mix(hash ^ word)
      index &+= 8
    }
    // The last 8 bytes again: the text is longer than 7.
    let last = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: end &- 8, as: UInt64.self)
    return mix(hash ^ last) | 0xFF00_0000_0000_0000
  }

  @inline(__always)
  private static func mix(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return product.high ^ product.low
  }

  /// The place of `text[start ..< end]`, or of the empty slot where it belongs; nil if too far away.
  @inline(__always)
  private func place(
    _ key: UInt64, _ text: Span<UInt8>, _ start: Int, _ end: Int, _ tokens: TokenBytes
  ) -> Int? {
    var index = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) &>> shift)
    var steps = 0
    while true {
      let slot = slots[index]
      if slot.id < 0 { return index }
      if slot.key == key {
        if end &- start <= 7 || tokens.equals(slot.id, text, start, end) { return index }
      }
      index = (index &+ 1) & mask
      steps &+= 1
      if steps > Self.probeLimit { return nil }
    }
  }

  /// The token whose text is `text[start ..< end]`, -1 if there is none.
  @inline(__always)
  func find(_ text: Span<UInt8>, _ start: Int, _ end: Int, _ tokens: TokenBytes) -> Int32 {
    let key = Self.key(text, start, end)
    guard let index = place(key, text, start, end, tokens) else { return -1 }
    return slots[index].id
  }

  /// Enters a token. False if its text is there already, or if the table degenerates.
  mutating func insert(_ id: Int32, _ tokens: TokenBytes) -> Bool {
    let text = tokens.blob.span
    let (start, end) = tokens.bounds(id)
    let key = Self.key(text, start, end)
    guard let index = place(key, text, start, end, tokens), slots[index].id < 0 else {
      return false
    }
    slots[index] = Slot(key: key, id: id)
    return true
  }
}
