/// Pieces met lately and their ids, those of up to 15 bytes and 4 ids: most of a text is pieces that come again, and here
/// one look into the second-level cache finds what the tables of a vocabulary have spread over megabytes, or what
/// merging would make anew.
///
/// A place is a function of the bytes, a newer piece takes it from an older one. Bytes are compared, so what is found
/// never depends on what else was encoded.
struct PieceCache: Sendable {
  /// Longest piece that is kept, in bytes.
  static let longest = 15

  /// The bytes of a piece, zeros behind them, its length in the last byte; never zero.
  struct Key: Equatable, Sendable {
    var low: UInt64
    var high: UInt64

    /// The key of `count` (1 ... 15) bytes at `start`; nil if the text ends within 16 bytes.
    @inline(__always)
    init?(_ text: Span<UInt8>, _ start: Int, count: Int) {
      guard text.count &- start >= 16 else { return nil }
      // UInt8 has no padding, so its bytes may be read raw; any 8 of them are a UInt64, and the span checks that
      // they are inside it.
      let bytes = unsafe text.bytes
      let first = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt64.self)
      let second = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start &+ 8, as: UInt64.self)
      let bits = UInt64(truncatingIfNeeded: count) &<< 3
      // A smart shift: by 64 and more it leaves nothing.
      let one: UInt64 = 1
      low = first & ((one << bits) &- 1)
      high = second & ((one &<< (max(bits, 64) &- 64)) &- 1) | bits &<< 53
    }

    /// Where the key is kept.
    @inline(__always)
    var place: Int {
      let sum = (low &* 0x9E37_79B9_7F4A_7C15) ^ (high &* 0xD6E8_FEB8_6659_FD93)
      let mixed = (sum ^ sum &>> 32) &* 0x9E37_79B9_7F4A_7C15
      return Int(truncatingIfNeeded: mixed &>> (64 &- bits))
    }
  }

  private struct Slot: Sendable {
    var low: UInt64 = 0
    var high: UInt64 = 0
    /// -1 behind the last.
    var ids: SIMD4<Int32> = SIMD4(repeating: -1)
  }

  private static let bits: UInt64 = 14
  private var slots = [Slot](repeating: Slot(), count: 1 << bits)
  /// A bit for each token whose bytes have been seen to merge to it.
  private var wholes: [UInt64]

  init(tokens count: Int) {
    wholes = Array(repeating: 0, count: count / 64 + 1)
  }

  /// Whether the token's bytes are known to merge to it.
  func isWhole(_ id: Int32) -> Bool {
    wholes[Int(id) &>> 6] &>> UInt64(id & 63) & 1 != 0
  }

  mutating func markWhole(_ id: Int32) {
    wholes[Int(id) &>> 6] |= 1 &<< UInt64(id & 63)
  }

  /// The ids of a piece, -1 behind the last; nil if it is not here.
  @inline(__always)
  func find(_ key: Key) -> SIMD4<Int32>? {
    let slot = slots[key.place]
    return slot.low == key.low && slot.high == key.high ? slot.ids : nil
  }

  /// Keeps the ids of a piece, those from `first` on, if there are 1 to 4.
  @inline(__always)
  mutating func insert(_ key: Key, _ ids: borrowing [Int32], from first: Int) {
    guard 1...4 ~= ids.count &- first else { return }
    var four = SIMD4<Int32>(repeating: -1)
    for index in first..<ids.count { four[index &- first] = ids[index] }
    slots[key.place] = Slot(low: key.low, high: key.high, ids: four)
  }
}
