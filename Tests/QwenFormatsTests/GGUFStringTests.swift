import QwenFormats
import Testing

/// Lists of strings in GGUF files, sound and damaged.
@Suite struct GGUFStringTests {
  private func number(_ value: UInt64, _ bytes: Int) -> [UInt8] {
    (0..<bytes).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }

  private func text(_ text: String) -> [UInt8] {
    number(UInt64(text.utf8.count), 8) + Array(text.utf8)
  }

  /// A file whose only value is the array "a" of type `type`, with `count` elements in `body`.
  private func file(type: UInt64 = 8, count: Int, _ body: [UInt8]) throws -> GGUFFile {
    let bytes =
      GGUFFile.magic + number(3, 4) + number(0, 8) + number(1, 8) + text("a") + number(9, 4)
      + number(type, 4) + number(UInt64(count), 8) + body
    let copy = try bytes.withUnsafeBytes { try FileBytes(copying: $0, name: "test") }
    return try GGUFFile(copy) { _ in nil }
  }

  /// The strings of the array, found one behind the other.
  private func strings(_ file: GGUFFile) throws -> [String]? {
    let array = try #require(file.metadata["a"]?.array)
    guard let region = array.strings else { return nil }
    return region.withUnsafeBytes { bytes in
      let all = Span<UInt8>(_unsafeBytes: bytes)
      var found: [String] = []
      var next = 0
      while let place = GGUFArray.string(in: all, at: next) {
        found.append(String(decoding: bytes[place], as: UTF8.self))
        next = place.upperBound
      }
      #expect(next == bytes.count)
      return found
    }
  }

  private func sentence(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch { return (error as? FormatError)?.sentence ?? "\(error)" }
  }

  @Test(arguments: [[], [""], ["", "a", ""], ["one", "two words", "ünï", "", "last of them"]])
  func `come one behind the other`(_ wanted: [String]) throws {
    let file = try file(count: wanted.count, wanted.flatMap(text))
    #expect(try strings(file) == wanted)
    #expect(file.metadata["a"]?.array?.count == wanted.count)
  }

  @Test func `are no strings where the elements are numbers`() throws {
    let file = try file(type: 4, count: 3, number(7, 4) + number(0, 4) + number(0xFFFF_FFFF, 4))
    #expect(try strings(file) == nil)
    #expect(file.metadata["a"]?.array?.integers() == [7, 0, 0xFFFF_FFFF])
    let signed = try self.file(type: 5, count: 2, number(0xFFFF_FFFF, 4) + number(5, 4))
    #expect(signed.metadata["a"]?.array?.integers() == [-1, 5])
  }

  @Test(arguments: [0, 1, 4, 8, 40] as [UInt64])
  func `end the load where one is longer than the file`(_ more: UInt64) throws {
    let first = text("one") + text("two")
    // 24 bytes of header, "a", its type, and the type and number of its elements.
    let start = 24 + 9 + 4 + 12
    let damaged = first + number(6 + more, 8) + Array("three".utf8)
    let told = sentence { _ = try file(count: 3, damaged) }
    #expect(told.contains("\(start + first.count + 8)") && told.contains("\(6 + more) bytes"))
    let huge = first + number(UInt64.max, 8) + Array("three".utf8)
    #expect(sentence { _ = try file(count: 3, huge) }.contains("the length of a string"))
    let cut = first + [3, 0, 0]
    #expect(sentence { _ = try file(count: 3, cut + [0, 0, 0, 0]) }.contains("ends too early"))
  }

  @Test func `lie inside their bytes or nowhere`() {
    let bytes = text("abc") + [1, 0, 0]
    let span = bytes.span
    #expect(GGUFArray.string(in: span, at: 0) == 8..<11)
    for offset in [-1, 1, 4, 7, 11, 14, Int.max] {
      #expect(GGUFArray.string(in: span, at: offset) == nil)
    }
    #expect(GGUFArray.string(in: [UInt8]().span, at: 0) == nil)
  }
}
