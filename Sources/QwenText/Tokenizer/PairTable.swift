/// What two neighbours merge into and when, as one number: the rank above, the id below. A lower number merges
/// earlier; `PairTable.none` never does.
typealias Join = UInt64

extension Join {
  @inline(__always)
  var rank: Int32 { Int32(truncatingIfNeeded: self &>> 32) }
  @inline(__always)
  var id: Int32 { Int32(truncatingIfNeeded: self) }
}

/// Open-addressing table from two neighbouring ids to the id they merge into, and its rank.
///
/// Most neighbours don't merge: a bit for each hash, 8 a slot, says so from a small part of the cache.
struct PairTable: Sendable {
  /// One place, 16 bytes; an empty one has the impossible key of all ones.
  struct Slot: Sendable {
    var key: UInt64
    /// Lower merges earlier.
    var rank: Int32
    var id: Int32
  }

  static let empty = UInt64.max
  private static let probeLimit = 4096

  /// What stands for two neighbours that don't merge.
  static let none = Join.max

  private(set) var slots: [Slot]
  private var filter: [UInt64]
  private var mask: Int
  private var shift: UInt64
  private(set) var count = 0

  /// An empty table with room for `capacity` pairs; it grows when that was too few.
  init(capacity: Int) {
    var bits = 4
    while bits < 40, (1 << bits) < capacity + capacity / 2 { bits += 1 }
    filter = Array(repeating: 0, count: (1 << bits) / 8)
    slots = Array(repeating: Slot(key: Self.empty, rank: -1, id: -1), count: 1 << bits)
    mask = (1 << bits) - 1
    shift = UInt64(64 - bits)
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) &<< 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private static func hash(_ key: UInt64) -> UInt64 {
    let product = key.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return (product.high ^ product.low) &* 0x9E37_79B9_7F4A_7C15
  }

  /// The slot where the search for a key begins.
  @inline(__always)
  private func home(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: Self.hash(key) &>> shift)
  }

  /// What the pair merges into, `none` if it does not.
  @inline(__always)
  func find(_ left: Int32, _ right: Int32) -> Join {
    let key = Self.key(left, right)
    let hash = Self.hash(key)
    let bit = Int(truncatingIfNeeded: hash &>> (shift &- 3))
    if filter[bit &>> 6] &>> UInt64(bit & 63) & 1 == 0 { return Self.none }
    var index = Int(truncatingIfNeeded: hash &>> shift)
    while true {
      let slot = slots[index]
      if slot.key == key {
        return UInt64(UInt32(bitPattern: slot.rank)) &<< 32 | UInt64(UInt32(bitPattern: slot.id))
      }
      if slot.key == Self.empty { return Self.none }
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
    let bit = Int(truncatingIfNeeded: Self.hash(key) &>> (shift &- 3))
    filter[bit &>> 6] |= 1 &<< UInt64(bit & 63)
    return true
  }

  /// Whether every merge comes after those that made its two sides, so that merges run by rising rank.
  func ranksRise(tokens count: Int) -> Bool {
    var made = [Int32](repeating: -1, count: count)
    for slot in slots where slot.key != Self.empty {
      guard made.indices.contains(Int(slot.id)) else { return false }
      made[Int(slot.id)] = max(made[Int(slot.id)], slot.rank)
    }
    return slots.allSatisfy { slot in
      if slot.key == Self.empty { return true }
      let left = Int(truncatingIfNeeded: slot.key &>> 32)
      let right = Int(truncatingIfNeeded: slot.key & 0xFFFF_FFFF)
      guard left < count, right < count else { return false }
      return made[left] < slot.rank && made[right] < slot.rank
    }
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
