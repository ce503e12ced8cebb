/// Open-addressing table from two neighbouring ids to the rank of their merge, and from ranks to ids.
///
/// A pair and its rank are one word, so that the table of a large vocabulary stays near the second-level cache. Most
/// neighbours don't merge: a bit for each hash, 8 a slot, says so from a small part of it.
struct PairTable: Sendable {
  /// What stands for two neighbours that don't merge; a lower rank merges earlier.
  static let none = Int32.max
  /// Ranks are below this.
  static let rankLimit: Int32 = 1 << rankBits - 1

  private static let rankBits = 22
  /// `TokenBytes.idLimit` has as many.
  private static let idBits: UInt64 = 21
  private static let empty = UInt64.max
  private static let probeLimit = 4096

  /// Left id, right id, rank.
  private var slots: [UInt64]
  private var filter: [UInt64]
  /// What is made at each rank, -1 for nothing.
  private var merged: [Int32] = []
  private var mask: Int
  private var shift: UInt64
  private(set) var count = 0

  /// An empty table with room for `capacity` pairs; it grows when that was too few.
  init(capacity: Int) {
    var bits = 4
    while bits < 40, (1 << bits) < capacity + capacity / 2 { bits += 1 }
    filter = Array(repeating: 0, count: (1 << bits) / 8)
    slots = Array(repeating: Self.empty, count: 1 << bits)
    mask = (1 << bits) - 1
    shift = UInt64(64 - bits)
  }

  @inline(__always)
  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) &<< idBits | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private static func hash(_ key: UInt64) -> UInt64 {
    let product = key &* 0xD6E8_FEB8_6659_FD93
    return (product ^ product &>> 32) &* 0x9E37_79B9_7F4A_7C15
  }

  /// Of the merge of two neighbours, `none` if there is none.
  @inline(__always)
  func rank(_ left: Int32, _ right: Int32) -> Int32 {
    let key = Self.key(left, right)
    let hash = Self.hash(key)
    let bit = Int(truncatingIfNeeded: hash &>> (shift &- 3))
    if filter[bit &>> 6] &>> UInt64(bit & 63) & 1 == 0 { return Self.none }
    var index = Int(truncatingIfNeeded: hash &>> shift)
    while true {
      let slot = slots[index]
      if slot &>> Self.rankBits == key {
        return Int32(truncatingIfNeeded: slot) & Self.rankLimit
      }
      if slot == Self.empty { return Self.none }
      index = (index &+ 1) & mask
    }
  }

  /// What a merge of this rank, which `rank` gave, makes.
  @inline(__always)
  func id(_ rank: Int32) -> Int32 { merged[Int(rank)] }

  /// Enters a pair; a second entry replaces the first. False if the table degenerates, or if the rank is too high.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int32, id: Int32) -> Bool {
    guard (0..<Self.rankLimit).contains(rank) else { return false }
    if count &* 4 > slots.count &* 3 {
      guard grow() else { return false }
    }
    guard enter(Self.key(left, right), rank) else { return false }
    if Int(rank) == merged.count {
      merged.append(id)
      return true
    }
    let missing = Int(rank) + 1 - merged.count
    if missing > 0 { merged.append(contentsOf: repeatElement(-1, count: missing)) }
    merged[Int(rank)] = id
    return true
  }

  private mutating func enter(_ key: UInt64, _ rank: Int32) -> Bool {
    let hash = Self.hash(key)
    var index = Int(truncatingIfNeeded: hash &>> shift)
    var steps = 0
    while slots[index] != Self.empty, slots[index] &>> Self.rankBits != key {
      index = (index &+ 1) & mask
      steps += 1
      if steps > Self.probeLimit { return false }
    }
    if slots[index] == Self.empty { count += 1 }
    slots[index] = key &<< Self.rankBits | UInt64(rank)
    let bit = Int(truncatingIfNeeded: hash &>> (shift &- 3))
    filter[bit &>> 6] |= 1 &<< UInt64(bit & 63)
    return true
  }

  private mutating func grow() -> Bool {
    var bigger = PairTable(capacity: slots.count)
    for slot in slots where slot != Self.empty {
      guard bigger.enter(slot &>> Self.rankBits, Int32(slot & UInt64(Self.rankLimit))) else {
        return false
      }
    }
    bigger.merged = merged
    self = bigger
    return true
  }

  /// All pairs, in no order.
  var pairs: [(left: Int32, right: Int32, rank: Int32)] {
    slots.filter { $0 != Self.empty }.map { slot in
      let (left, right) = Self.sides(slot)
      return (Int32(left), Int32(right), Int32(slot & UInt64(Self.rankLimit)))
    }
  }

  /// Whether every merge comes after those that made its two sides, so that merges run by rising rank.
  func ranksRise(tokens count: Int) -> Bool {
    var made = [Int32](repeating: -1, count: count)
    for slot in slots where slot != Self.empty {
      let rank = Int32(truncatingIfNeeded: slot) & Self.rankLimit
      let id = Int(id(rank))
      guard made.indices.contains(id) else { return false }
      made[id] = max(made[id], rank)
    }
    for slot in slots where slot != Self.empty {
      let rank = Int32(truncatingIfNeeded: slot) & Self.rankLimit
      let (left, right) = Self.sides(slot)
      guard left < count, right < count, made[left] < rank, made[right] < rank else { return false }
    }
    return true
  }

  /// Both ids of a slot that is in use.
  @inline(__always)
  private static func sides(_ slot: UInt64) -> (left: Int, right: Int) {
    let key = slot &>> rankBits
    return (Int(key &>> idBits), Int(key & (1 << idBits - 1)))
  }
}
