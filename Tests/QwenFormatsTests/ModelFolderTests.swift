import QwenFormats
import Testing

/// Folders as downloads leave them, whole and broken.
@Suite struct ModelFolderTests {
  let temporary: TemporaryFolder

  init() throws { temporary = try TemporaryFolder() }

  private func found(_ name: String = "") throws -> String {
    let path = name.isEmpty ? temporary.path : temporary.path + "/" + name
    guard
      case .folder(let folder) = try ModelFiles.open(path: path, mode: .map, layout: { _ in nil })
    else { return "" }
    return String(folder.path.dropFirst(temporary.path.count + 1))
  }

  private func sentence(_ body: () throws -> Void) -> String {
    do {
      try body()
      return ""
    } catch { return (error as? FormatError)?.sentence ?? "\(error)" }
  }

  /// A safetensors file of one tensor of four bytes.
  private func safetensors(_ name: String) -> [UInt8] {
    let header = "{\"\(name)\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
    return [UInt8(header.utf8.count), 0, 0, 0, 0, 0, 0, 0] + Array(header.utf8) + [0, 0, 0, 0]
  }

  @Test func aHuggingFaceCacheIsItsMainSnapshot() throws {
    let at = "models--Qwen--Tiny/"
    try temporary.write(at + "blobs/c0", "{}")
    for commit in ["abc", "def"] {
      try temporary.link(at + "snapshots/\(commit)/config.json", to: "../../blobs/c0")
    }
    try temporary.write(at + "refs/main", "def\n")
    #expect(try found("models--Qwen--Tiny") == at + "snapshots/def")
    #expect(try found("models--Qwen--Tiny/snapshots/abc") == at + "snapshots/abc")
    #expect(sentence { _ = try found() }.contains("models--Qwen--Tiny"))
    try temporary.write(at + "refs/main", "123")
    #expect(sentence { _ = try found("models--Qwen--Tiny") }.contains("snapshot \"123\""))
  }

  @Test func aCacheWithoutReferenceNeedsOneSnapshot() throws {
    try temporary.write("snapshots/abc/config.json", "{}")
    #expect(try found() == "snapshots/abc")
    try temporary.write("snapshots/def/config.json", "{}")
    #expect(sentence { _ = try found() }.contains("2 snapshots"))
  }

  @Test func linksWithoutTargetAreNamed() throws {
    try temporary.link("config.json", to: "../blobs/gone")
    #expect(sentence { _ = try found() }.contains("link to a file that is not there"))
    try temporary.link("m/model.safetensors", to: "../blobs/gone")
    try temporary.write("m/config.json", "{}")
    let folder = Folder(path: temporary.path + "/m")
    #expect(
      sentence { _ = try folder.tensors(mode: .map) }.contains("model.safetensors: is a link"))
  }

  @Test func aModelScopeFolderIsPlain() throws {
    try temporary.write("Qwen/Tiny/configuration.json", "{\"framework\":\"pytorch\"}")
    try temporary.write("Qwen/Tiny/.msc", [0x80, 4])
    #expect(sentence { _ = try found("Qwen/Tiny") }.contains("configuration.json is ModelScope's"))
    try temporary.write("Qwen/Tiny/config.json", "{}")
    #expect(try found("Qwen/Tiny") == "Qwen/Tiny")
    #expect(sentence { _ = try found("Qwen") }.contains("one of the folders in it: Tiny"))
  }

  @Test func oneFileOfAFolderIsNotTheModel() throws {
    try temporary.write("model.safetensors", safetensors("a"))
    #expect(sentence { _ = try found("model.safetensors") }.contains("give the folder"))
  }

  @Test func missingShardsAreNamed() throws {
    let folder = temporary.folder
    let map = (1...3).map { "\"t\($0)\":\"model-0000\($0)-of-00003.safetensors\"" }
    try temporary.write(
      "model.safetensors.index.json", "{\"weight_map\":{\(map.joined(separator: ","))}}")
    try temporary.write("model-00001-of-00003.safetensors", safetensors("t1"))
    let two = sentence { _ = try folder.tensors(mode: .map) }
    #expect(
      two.contains("2 of 3 shards are missing: model-00002-of-00003.safetensors, model-00003"))
    try temporary.write("model-00002-of-00003.safetensors", safetensors("t2"))
    try temporary.write("model-00003-of-00003.safetensors.incomplete", "")
    let one = sentence { _ = try folder.tensors(mode: .map) }
    #expect(one.contains("model-00003-of-00003.safetensors: is missing, one of 3 shards"))
    #expect(one.contains("a download was not finished"))
    try temporary.write("model-00003-of-00003.safetensors", safetensors("t3"))
    #expect(try folder.tensors(mode: .map).entries.count == 3)
  }

  @Test func shardsNeedNoIndexAndFilesNoCertainName() throws {
    try temporary.write("a/model-00001-of-00002.safetensors", safetensors("t1"))
    let folder = Folder(path: temporary.path + "/a")
    #expect(sentence { _ = try folder.tensors(mode: .map) }.contains("model-00002-of-00002"))
    try temporary.write("a/model-00002-of-00002.safetensors", safetensors("t2"))
    #expect(try folder.tensors(mode: .map).entries.count == 2)
    try temporary.write("b/gptq_model-4bit-128g.safetensors", safetensors("t"))
    #expect(try Folder(path: temporary.path + "/b").tensors(mode: .map).entries.count == 1)
    #expect(sentence { _ = try temporary.folder.tensors(mode: .map) }.contains("has no weights"))
  }

  @Test func cutShardsTellBothSizes() throws {
    let bytes = safetensors("t")
    for count in [bytes.count - 1, bytes.count - 5] {
      try temporary.write("model.safetensors", bytes.prefix(count))
      let text = sentence { _ = try temporary.folder.tensors(mode: .map) }
      #expect(text.contains("model.safetensors: has \(count) bytes of the"), "\(text)")
    }
    try temporary.write("model.safetensors", "")
    #expect(sentence { _ = try temporary.folder.tensors(mode: .map) }.contains("0 bytes"))
  }
}
