/// What the splitters and the normaliser need to know of a code point, as bits.
struct UnicodeClass: OptionSet, Sendable {
  let rawValue: UInt8

  /// General category L*.
  static let letter = UnicodeClass(rawValue: 1)
  /// General category N*.
  static let number = UnicodeClass(rawValue: 2)
  /// White_Space.
  static let space = UnicodeClass(rawValue: 4)
  /// CR or LF.
  static let newline = UnicodeClass(rawValue: 8)
  /// NFC may change it, reorder it, or join it to what precedes it.
  static let unstable = UnicodeClass(rawValue: 16)
}

/// Two-stage table of `UnicodeClass` over all code points, about 45 KB.
struct UnicodeClasses: Sendable {
  /// Built on first use, in under a millisecond.
  static let shared = UnicodeClasses()

  private let blocks: [UInt16]
  private let classes: [UnicodeClass]
  /// What a first byte alone says: the class, `unstable` aside, of all characters that begin with it; `mixed` where
  /// they differ. So most Chinese letters need no decoding.
  private let leads: [UnicodeClass]
  private static let mixed = UnicodeClass(rawValue: 128)

  private init() {
    var flat = [UnicodeClass](repeating: [], count: 0x110000)
    func mark(_ ranges: [UInt32], _ bit: UnicodeClass) {
      for index in stride(from: 0, to: ranges.count, by: 2) {
        for point in ranges[index]..<ranges[index] + ranges[index + 1] {
          flat[Int(point)].formUnion(bit)
        }
      }
    }
    mark(UnicodeTables.letters, .letter)
    mark(UnicodeTables.numbers, .number)
    mark(UnicodeTables.spaces, .space)
    mark([0x0A, 1, 0x0D, 1], .newline)
    mark(UnicodeTables.unstable, .unstable)

    var blocks: [UInt16] = []
    var classes: [UnicodeClass] = []
    var known: [[UInt8]: UInt16] = [:]
    var last: (start: Int, index: UInt16)?
    for start in stride(from: 0, to: flat.count, by: 256) {
      // Most are as the one before.
      if let last, Self.areEqual(flat, last.start, start) {
        blocks.append(last.index)
        continue
      }
      let block = flat[start..<start + 256]
      let key = block.map { $0.rawValue }
      let index = known[key] ?? UInt16(classes.count / 256)
      if known.updateValue(index, forKey: key) == nil { classes.append(contentsOf: block) }
      blocks.append(index)
      last = (start, index)
    }
    self.blocks = blocks
    self.classes = classes
    leads = (0..<256).map { byte in
      let points =
        switch byte {
        case 0..<0x80: byte..<byte + 1
        case 0xC2..<0xE0: (byte & 31) << 6..<((byte & 31) + 1) << 6
        case 0xE1..<0xF0: (byte & 15) << 12..<((byte & 15) + 1) << 12
        default: 0..<0
        }
      let first = points.first.map { flat[$0].subtracting(.unstable) }
      let isUniform = points.allSatisfy { flat[$0].subtracting(.unstable) == first }
      return isUniform ? first ?? Self.mixed : Self.mixed
    }
  }

  /// Whether two blocks of 256 are alike.
  private static func areEqual(_ flat: [UnicodeClass], _ first: Int, _ second: Int) -> Bool {
    // One byte a class, whatever it is; the buffer checks that the words are inside it.
    unsafe flat.withUnsafeBytes { bytes in
      for offset in stride(from: 0, to: 256, by: 8) {
        let a = unsafe bytes.loadUnaligned(fromByteOffset: first + offset, as: UInt64.self)
        let b = unsafe bytes.loadUnaligned(fromByteOffset: second + offset, as: UInt64.self)
        if a != b { return false }
      }
      return true
    }
  }

  /// The class of a code point below 0x110000.
  @inline(__always)
  subscript(point: UInt32) -> UnicodeClass {
    let block = Int(blocks[Int(point &>> 8)])
    return classes[block &<< 8 | Int(point & 255)]
  }

  /// The class of an ASCII byte.
  @inline(__always)
  subscript(ascii byte: UInt8) -> UnicodeClass { classes[Int(byte)] }

  /// Class, `unstable` perhaps aside, of the character that begins at `index` of well-formed UTF-8, and its length in
  /// bytes.
  @inline(__always)
  func at(_ text: Span<UInt8>, _ index: Int) -> (class: UnicodeClass, width: Int) {
    let byte = text[index]
    let lead = leads[Int(byte)]
    if byte < 0x80 { return (lead, 1) }
    if lead != Self.mixed { return (lead, byte < 0xE0 ? 2 : 3) }
    let (point, width) = UTF8Text.scalar(text, index)
    return (self[point], width)
  }
}
