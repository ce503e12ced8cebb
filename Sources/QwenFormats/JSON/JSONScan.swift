/// What one pass over JSON text finds out before the parser proper may recurse and allocate.
///
/// The scan knows brackets, strings and numbers only. As long as the text is JSON it sees exactly what
/// the parser will see; from the first error on it may be wrong, but there the parser stops.
struct JSONScan {
  /// The first bracket that opens more levels than allowed.
  private(set) var tooDeep: Int?
  /// The comma or bracket at which there are more values than allowed.
  private(set) var tooMany: Int?
  /// The ends of integers too long for 64 bits, which will be read as numbers.
  private(set) var longIntegerEnds: [Int] = []

  /// Digits that every signed 64-bit integer fits into, so that longer ones are looked at more closely.
  private static let safeDigitCount = 18

  init(_ text: UnsafeRawBufferPointer, maximumDepth: Int, maximumValueCount: Int) {
    var depth = 0
    var values = 1
    var position = 0
    // Every subscript is in bounds: each is guarded by position < text.count.
    while position < text.count {
      switch unsafe text[position] {
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        depth += 1
        values += 1
        if depth > maximumDepth {
          tooDeep = position
          return
        }
      case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
      case UInt8(ascii: ","): values += 1
      case UInt8(ascii: "\""): unsafe JSONScan.skipString(text, &position)
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        unsafe scanNumber(text, &position)
        continue
      default: break
      }
      if values > maximumValueCount {
        tooMany = position
        return
      }
      position += 1
    }
  }

  /// From an opening quote to the closing one, or to the end of the text.
  private static func skipString(_ text: UnsafeRawBufferPointer, _ position: inout Int) {
    position += 1
    while position < text.count {
      let byte = unsafe text[position]
      if byte == UInt8(ascii: "\"") { return }
      position += byte == UInt8(ascii: "\\") ? 2 : 1
    }
  }

  /// From the first digit of a number to the first byte behind it.
  private mutating func scanNumber(_ text: UnsafeRawBufferPointer, _ position: inout Int) {
    let start = position
    let isNegative = start > 0 ? unsafe text[start - 1] == UInt8(ascii: "-") : false
    var isInteger = true
    scan: while position < text.count {
      switch unsafe text[position] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): break
      case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): isInteger = false
      case UInt8(ascii: "+"), UInt8(ascii: "-"): break
      default: break scan
      }
      position += 1
    }
    guard isInteger, position - start > JSONScan.safeDigitCount else { return }
    var value = 0
    for index in start..<position {
      let digit = unsafe Int(text[index]) - 0x30
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (next, overflowToo) =
        isNegative
        ? tens.subtractingReportingOverflow(digit) : tens.addingReportingOverflow(digit)
      if overflow || overflowToo {
        longIntegerEnds.append(position)
        return
      }
      value = next
    }
  }
}
