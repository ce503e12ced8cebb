import QwenFormats
import QwenText
import Testing

@Suite struct LenientJSONTests {
  @Test(arguments: [
    (#"{"a": 1, "b": [true, null, 1.5, "x"]}"#, #"{"a":1,"b":[true,null,1.5,"x"]}"#),
    (#"{'a': 'it\'s', "b": "\u00e9\ud83e\udd16"}"#, #"{"a":"it's","b":"é🤖"}"#),
    ("{a: 1, b_2: 2, $c: 3,}", #"{"a":1,"b_2":2,"$c":3}"#),
    ("{\"a\": 1, // one\n /* two */ \"b\": [1, 2,],}", #"{"a":1,"b":[1,2]}"#),
    ("```json\n{\"a\": 1}\n```", #"{"a":1}"#), ("```\n{a: 'b'}\n``` and more", #"{"a":"b"}"#),
    ("{\"a\": True, \"b\": None, 'c': False}", #"{"a":true,"b":null,"c":false}"#),
    (
      "{a: 0xFF, b: +1, c: .5, d: 5., e: -.25e2, f: 1e3}",
      #"{"a":255,"b":1,"c":0.5,"d":5.0,"e":-25.0,"f":1000.0}"#
    ),
    ("{\"text\": \"two\nlines\"}", #"{"text":"two\nlines"}"#),
    ("{\"a\": 1} and what follows", #"{"a":1}"#), ("{\"a\": \"\\x41\\\nb\"}", #"{"a":"Ab"}"#),
    ("{a: NaN, b: Infinity}", #"{"a":null,"b":null}"#),
    ("{city: New York, days: 2}", #"{"city":"New York","days":2}"#),
    ("{\"a\": 1 \"b\": 2}", #"{"a":1,"b":2}"#),
    ("\u{FEFF}\u{A0}{'a': []}", #"{"a":[]}"#),
  ]) func `what models write is read`(_ text: String, _ wanted: String) throws {
    let reading = try #require(LenientJSON.read(text))
    #expect(reading.value.serialized() == wanted)
    #expect(!reading.isCut)
  }

  @Test(arguments: [
    (#"{"city": "Par"#, #"{"city":"Par"}"#), (#"{"city": "Paris", "days"#, #"{"city":"Paris"}"#),
    (#"{"city": "Paris", "days":"#, #"{"city":"Paris"}"#), (#"{"a": [1, 2, {"b": tr"#, nil),
    (#"{"a": [1, [2, 3"#, #"{"a":[1,[2,3]]}"#), ("{", "{}"),
    (#"{"a": {"b": "\u00"#, #"{"a":{"b":"�"}}"#),
    ("```json\n{\"a\": [", #"{"a":[]}"#),
  ]) func `cut ends are closed`(_ text: String, _ wanted: String?) throws {
    let reading = try #require(LenientJSON.read(text))
    if let wanted { #expect(reading.value.serialized() == wanted) }
    #expect(reading.isCut && reading.isRepaired)
  }

  @Test(arguments: ["", "   ", "hello there", "print('x')", "}", "]", "{]", "{:1}", "[}", "//"])
  func `what is no value stays text`(_ text: String) {
    #expect(LenientJSON.read(text)?.value.object == nil)
  }

  @Test func `nesting is limited, not a trap`() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(LenientJSON.read(deep) == nil)
    #expect(LenientJSON.read(String(repeating: "{a:", count: 100_000)) == nil)
  }

  @Test func `no bytes trap it`() {
    var state: UInt64 = 7
    func next(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    let parts = [
      "{", "}", "[", "]", "\"", "'", "\\", "\\u", "d83d", ":", ",", "0x", "-",
      "9223372036854775808", "1e999",
      "-0x8000000000000000", "`", "```", "/*", "//", "\n", "é", "a", "null", "0x-8000000000000000",
      ".", "+",
    ]
    for _ in 0..<30_000 {
      let text = (0..<next(12)).map { _ in parts[next(parts.count)] }.joined()
      _ = LenientJSON.read(text)
    }
  }

  @Test func `strict JSON is read as strict JSON`() throws {
    let text = #"{"a": [1, 2.5, -0.0, 1e300, "\n"], "b": {"c": null}}"#
    let reading = try #require(LenientJSON.read(text))
    #expect(reading.value == (try JSONValue(parsing: text)))
    #expect(!reading.isRepaired)
  }
}
