internal import QwenFormats

/// A number of bytes as an option gives it: an integer, or a number with a unit, as "24 GiB" or "500M".
struct ByteSize {
  let bytes: Int

  private static let units = [
    ("", 1), ("B", 1), ("K", 1 << 10), ("KIB", 1 << 10), ("KB", 1000), ("M", 1 << 20),
    ("MIB", 1 << 20), ("MB", 1_000_000), ("G", 1 << 30), ("GIB", 1 << 30), ("GB", 1_000_000_000),
    ("T", 1 << 40), ("TIB", 1 << 40), ("TB", 1_000_000_000_000),
  ]
  /// More than any machine has.
  static let limit = 1 << 50

  /// Nil for anything else, and for less than 1 or more than 2^50 bytes.
  init?(_ value: JSONValue) {
    if let bytes = value.int {
      self.bytes = bytes
    } else {
      guard let text = value.string, text.utf8.count <= 32 else { return nil }
      let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      let unit = text.dropFirst(digits.count).drop { $0 == " " }.uppercased()
      guard let number = Double(digits), let factor = ByteSize.units.first(where: { $0.0 == unit }),
        number * Double(factor.1) <= Double(ByteSize.limit)
      else { return nil }
      bytes = Int(number * Double(factor.1))
    }
    guard bytes >= 1, bytes <= ByteSize.limit else { return nil }
  }
}
