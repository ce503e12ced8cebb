import Glibc

/// Writing to the standard descriptors and reading from standard input, byte for byte.
enum Terminal {
  static let inputIsTerminal = isatty(0) == 1
  static let outputIsTerminal = isatty(1) == 1
  static let errorIsTerminal = isatty(2) == 1

  /// Writes all of `text` to standard output.
  static func write(_ text: String) {
    var text = text
    text.withUTF8 { write(UnsafeRawBufferPointer($0), to: 1) }
  }

  static func writeLine(_ text: String) { write(text + "\n") }

  /// Writes all of `text` to standard error.
  static func writeError(_ text: String) {
    var text = text
    text.withUTF8 { write(UnsafeRawBufferPointer($0), to: 2) }
  }

  /// Writes all bytes. A reader that went away ends the process quietly, as SIGPIPE would.
  static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) {
    var rest = bytes
    while !rest.isEmpty {
      let written = Glibc.write(descriptor, rest.baseAddress, rest.count)
      if written >= 0 {
        rest = UnsafeRawBufferPointer(rebasing: rest[written...])
      } else if errno == EPIPE {
        exit(128 + SIGPIPE)
      } else if errno != EINTR && errno != EAGAIN {
        if descriptor == 1 {
          writeError("qwen: cannot write: \(String(cString: strerror(errno)))\n")
          exit(1)
        }
        return
      }
    }
  }

  /// A line that replaces itself on a terminal and is left out elsewhere.
  static func showProgress(_ text: String) {
    if errorIsTerminal { writeError("\r\u{1B}[K" + text) }
  }

  static func clearProgress() {
    if errorIsTerminal { writeError("\r\u{1B}[K") }
  }
}

/// Bytes of a file, or of standard input when `path` is "-".
func readAll(_ path: UnsafePointer<CChar>) throws(Failure) -> [UInt8] {
  let isInput = strcmp(path, "-") == 0
  let name = isInput ? "standard input" : String(cString: path)
  let descriptor = isInput ? 0 : open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .general("\(name): \(String(cString: strerror(errno)))") }
  defer { if !isInput { close(descriptor) } }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count > 0 {
      bytes.append(contentsOf: chunk[..<count])
    } else if count == 0 {
      return bytes
    } else if errno != EINTR {
      throw .general("\(name): \(String(cString: strerror(errno)))")
    }
  }
}

/// Lines of standard input as a person types them.
struct LineReader {
  enum Line {
    case text(String)
    case interrupted
    case end
  }

  private var buffer: [UInt8] = []
  private var isAtEnd = false

  /// The next line without its line feed. A signal during the wait gives `.interrupted` and drops
  /// what was typed so far, as the terminal does.
  mutating func next() -> Line {
    while true {
      if let feed = buffer.firstIndex(of: 0x0A) {
        let line = String(decoding: buffer[..<feed], as: UTF8.self)
        buffer.removeSubrange(...feed)
        return .text(line)
      }
      if isAtEnd {
        if buffer.isEmpty { return .end }
        defer { buffer = [] }
        return .text(String(decoding: buffer, as: UTF8.self))
      }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(0, &chunk, chunk.count)
      if count > 0 {
        buffer.append(contentsOf: chunk[..<count])
      } else if count < 0 && errno == EINTR {
        buffer = []
        return .interrupted
      } else {
        isAtEnd = true
      }
    }
  }
}

/// Seconds on a clock that only runs forward.
func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// `value` with a fixed number of decimals, rounded half away from zero.
func decimal(_ value: Double, _ digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  guard value.isFinite, let scaled = Int(exactly: (value.magnitude * scale).rounded()) else {
    return "\(value)"
  }
  let sign = value < 0 && scaled > 0 ? "-" : ""
  if digits == 0 { return sign + String(scaled) }
  let fraction = String(scaled % Int(scale))
  let zeros = String(repeating: "0", count: digits - fraction.utf8.count)
  return "\(sign)\(scaled / Int(scale)).\(zeros)\(fraction)"
}

extension String {
  /// Without spaces and line ends on both sides.
  var trimmed: String {
    let start = firstIndex { !$0.isWhitespace } ?? endIndex
    guard let end = lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(self[start...end])
  }

  /// Padded with spaces to at least `width` characters.
  func padded(_ width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(0, width - count))
  }
}
