import QwenFormats
import QwenModel
import Testing

/// Configurations of the tiny models with one number made impossible.
struct ConfigurationTests {
  static let folders = [
    "llama", "qwen-launch", "qwen-ntk", "qwen2-moe", "qwen2-tied", "qwen2-untied", "qwen3",
    "qwen3-moe",
  ]
  static let extremes = [
    Int.min, -1, 0, 1, Int(Int32.max), Int(UInt32.max), Int.max - 1, Int.max,
  ]

  @Test(arguments: folders)
  func `every extreme of every integer is an error or a configuration`(name: String) throws {
    let folder = Folder(path: tinyFixtures + name)
    let config = try #require(try folder.object("config.json"))
    var refused = 0
    for (key, value) in config.entries where value.int != nil {
      for extreme in Self.extremes {
        let changed: [(String, JSONValue)] = config.entries.map {
          ($0.key, $0.key == key ? .integer(extreme) : $0.value)
        }
        do throws(FormatError) {
          _ = try ModelConfiguration(config: JSONObject(changed), path: "config.json")
        } catch {
          refused += 1
          #expect(error.path == "config.json")
        }
      }
    }
    #expect(refused > 20)
  }
}
