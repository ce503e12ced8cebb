import Testing

@testable import QwenText

/// Strings of vocabularies, read 8 bytes at a time.
@Suite struct JSONCursorTests {
  private static let spellings = [
    ("", ""), (#"\""#, "\""), (#"\\"#, "\\"), ("ü千", "ü千"), (#"\u0041\n"#, "A\n"),
    ("!#[]~", "!#[]~"),
  ]

  @Test(arguments: spellings)
  func `come whole at every length and place`(_ written: String, _ meant: String) throws {
    for lead in 0..<9 {
      for length in 0..<20 {
        let plain = String(repeating: "a", count: length)
        let margin = String(repeating: " ", count: lead)
        let text = Array("\(margin)\"\(plain)\(written)\(plain)\"x".utf8)
        var bytes: [UInt8] = []
        var cursor = JSONCursor(file: "test")
        try cursor.string(text.span, into: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == plain + meant + plain)
        #expect(cursor.position == text.count - 1)
        cursor = JSONCursor(file: "test")
        #expect(try cursor.skip(text.span) == lead..<text.count - 1)
        // Without its end.
        for end in lead + 1..<text.count - 1 {
          cursor = JSONCursor(file: "test")
          #expect(throws: TokenizerError.self) {
            try cursor.string(text.span.extracting(0..<end), into: &bytes)
          }
          cursor = JSONCursor(file: "test")
          #expect(throws: TokenizerError.self) {
            _ = try cursor.skip(text.span.extracting(0..<end))
          }
        }
      }
    }
  }

  @Test func `are refused with a control character in them`() {
    for length in 0..<20 {
      for control in UInt8(0)..<0x20 {
        let plain = [UInt8](repeating: 0x61, count: length)
        let text = [0x22] + plain + [control] + plain + [0x22]
        var bytes: [UInt8] = []
        var cursor = JSONCursor(file: "test")
        #expect(throws: TokenizerError.self) { try cursor.string(text.span, into: &bytes) }
        #expect(bytes == plain)
      }
    }
  }
}
