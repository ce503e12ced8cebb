import QwenFormats
import QwenText
import Testing

/// Prints how fast vocabularies load and texts are encoded; in a release build, with LIBQWEN_TEXT_SPEED set.
@Suite(
  .serialized, RealVocabularies.hasCases,
  .enabled(if: RealVocabularies.path("LIBQWEN_TEXT_SPEED") != nil, "set LIBQWEN_TEXT_SPEED"))
struct TokenizerSpeedTests {
  @Test(arguments: ["qwen", "qwen2", "vocab", "smollm2"])
  func `a vocabulary loads`(name: String) throws {
    let folder = try #require(RealVocabularies.casesPath)
    let milliseconds = try fastest(of: 5) {
      _ = try RealVocabularies.open("\(folder)/\(name)")
    }
    print("load \(name): \(milliseconds) ms")
  }

  @Test(arguments: ["qwen", "smollm2"])
  func `texts are encoded and decoded`(name: String) throws {
    let folder = try #require(RealVocabularies.casesPath)
    let tokenizer = try RealVocabularies.open("\(folder)/\(name)")
    for (kind, text) in SpeedTexts.all {
      var ids: [Int32] = []
      let encoding = try fastest(of: 5) { ids = try tokenizer.encode(text) }
      let decoding = fastest(of: 5) { _ = tokenizer.decode(ids) }
      print(
        "\(name) \(kind): \(ids.count) ids, encode \(Double(text.count) / encoding / 1000) MB/s, "
          + "decode \(Double(text.count) / decoding / 1000) MB/s")
    }
  }

  /// Milliseconds of the fastest of several runs.
  private func fastest(of runs: Int, _ body: () throws -> Void) rethrows -> Double {
    var best = Double.infinity
    for _ in 0..<runs {
      let time = try ContinuousClock().measure(body)
      best = min(
        best, Double(time.components.attoseconds) / 1e15 + Double(time.components.seconds) * 1e3)
    }
    return best
  }
}

/// A megabyte of several kinds of text, made from a seed.
enum SpeedTexts {
  static let all: [(kind: String, text: [UInt8])] = [
    ("english", words(english, separator: " ")),
    ("chinese", words(chinese, separator: "")),
    ("code", words(code, separator: "\n")),
    ("one letter", Array(repeating: UInt8(ascii: "a"), count: 1 << 20)),
    ("random letters", letters()),
  ]

  private static let english =
    "the quick brown fox jumps over a lazy dog, and 12 of its friends don't mind; tokenization of "
    + "natural language is neither obvious nor finished (see below) when people write sentences"
  private static let chinese =
    "通义千问 是 一个 大规模 语言 模型 ， 它 可以 回答 问题 、 创作 文字 。 浙江 的 省会 在 哪里 ？ 今天 天气 很 好"
  private static let code =
    "for(int\u{A0}i=0;i<n;i++){ \treturn\u{A0}x+1; if\u{A0}let\u{A0}value=table[key]{ } "
    + "\t\tprint(\"%d\\n\",value); //\u{A0}comment"

  private static func words(_ text: String, separator: String) -> [UInt8] {
    let words = text.split(separator: " ")
    var state: UInt64 = 1
    var bytes: [UInt8] = []
    while bytes.count < 1 << 20 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      bytes += Array(words[Int(state >> 33) % words.count].utf8) + Array(separator.utf8)
    }
    return bytes
  }

  private static func letters() -> [UInt8] {
    var state: UInt64 = 1
    return (0..<1 << 20).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(ascii: "a") + UInt8(state >> 33 & 15)
    }
  }
}
