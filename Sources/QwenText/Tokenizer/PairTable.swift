/// Open-addressing table from two neighbouring ids to the id they merge into, and its rank.
struct PairTable: Sendable {
  /// One place, 16 bytes; an empty one has the impossible key of all ones.
  struct Slot: Sendable {
    var key: UInt64
    /// Lower merges earlier.
    var rank: Int32
    var id: Int32
  }

  static let empty = UInt64.max
  /// Rank of a pair that does not merge.
  static let noRank = Int32.max
  private static let probeLimit = 4096

  private var slots: [Slot]
  private var mask: Int
  private var shift: UInt64
  private(set) var count = 0

  /// An empty table with room for `capacity` pairs; it grows when that was too few.
  init(capacity: Int) {
    var bits = 4
    while bits < 40, (1 << bits) < capacity &* 2 { bits += 1 }
    slots = Array(repeating: Slot(key: Self.empty, rank: Self.noRank, id: -1), count: 1 << bits)
    mask = (1 << bits) - 1
    shift = UInt64(64 - bits)
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) &<< 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func home(_ key: UInt64) -> Int {
    let product = key.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return Int(
      truncatingIfNeeded: ((product.high ^ product.low) &* 0x9E37_79B9_7F4A_7C15) &>> shift)
  }

  /// What the pair merges into; rank `noRank` and id -1 if it does not.
  @inline(__always)
  func find(_ left: Int32, _ right: Int32) -> (rank: Int32, id: Int32) {
    let key = Self.key(left, right)
    var index = home(key)
    while true {
      let slot = slots[index]
      if slot.key == key { return (slot.rank, slot.id) }
      if slot.key == Self.empty { return (Self.noRank, -1) }
      index = (index &+ 1) & mask
    }
  }

  /// Enters a pair; a second entry replaces the first. False if the table degenerates.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int32, id: Int32) -> Bool {
    if count &* 4 > slots.count &* 3 {
      guard grow() else { return false }
    }
    let key = Self.key(left, right)
    var index = home(key)
    var steps = 0
    while slots[index].key != Self.empty, slots[index].key != key {
      index = (index &+ 1) & mask
      steps += 1
      if steps > Self.probeLimit { return false }
    }
    if slots[index].key == Self.empty { count += 1 }
    slots[index] = Slot(key: key, rank: rank, id: id)
    return true
  }

  private mutating func grow() -> Bool {
    var bigger = PairTable(capacity: slots.count)
    for slot in slots where slot.key != Self.empty {
      let left = Int32(truncatingIfNeeded: slot.key &>> 32)
      let right = Int32(truncatingIfNeeded: slot.key)
      guard bigger.insert(left, right, rank: slot.rank, id: slot.id) else { return false }
    }
    self = bigger
    return true
  }
}
