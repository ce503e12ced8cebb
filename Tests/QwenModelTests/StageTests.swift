@testable import QwenFormats
import QwenModel
import QwenTensor
import Testing

/// The forward pass of every tiny model, stage by stage, against PyTorch (Tests/Tools/tiny_models.py).
struct StageTests {
  static let names = [
    "llama", "llama-gguf", "llama-gguf-q4", "qwen-gguf", "qwen-launch", "qwen-ntk", "qwen2-gguf",
    "qwen2-gguf-q4", "qwen2-moe", "qwen2-moe-gguf", "qwen2-tied", "qwen2-untied", "qwen3",
    "qwen3-moe", "qwen3-moe-gguf",
  ]

  @Test(arguments: names)
  func `stages are those of PyTorch`(name: String) throws {
    let golden = try Golden(name)
    let (configuration, archive) = try open(name)
    let network = try LanguageModel(configuration, archive)
    let ids = try golden.ids("input_ids")
    let sequence = Sequence(
      cache: try KVCache(shape: configuration.kvShape(.f32), capacity: ids.count))
    let workspace = try Workspace(
      configuration, maximumTokens: ids.count, threads: 1, isExact: true, control: RunControl())
    var seen: [String: [Float]] = [:]
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    try WorkerPool.shared.exclusive { () throws(TensorError) in
      _ = try network.forward([Slice(sequence, ids[...])], workspace) { stage, rows in
        switch stage {
        case .embedding: seen["embeddings"] = rows.array()
        case .layer(let index): seen["layers.\(index)"] = rows.array()
        case .finalNorm: seen["norm"] = rows.array()
        }
      }
    }
    #expect(seen.count == configuration.layerCount + 2)
    for (stage, values) in seen {
      let wanted = try golden.floats(stage)
      #expect(values.count == wanted.count)
      let largest = wanted.reduce(0) { max($0, abs($1)) }
      let error = zip(values, wanted).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(error <= 1e-5 * largest, "\(stage): \(error) of \(largest)")
    }
  }

  private func open(_ name: String) throws -> (ModelConfiguration, TensorArchive) {
    let path = tinyFixtures + name
    if name.contains("gguf") {
      let files = try ModelFiles.open(
        path: path + "/model.gguf", mode: .map, progress: nil,
        layout: {
          StorageFormat.ggml($0).map {
            BlockLayout(elements: $0.blockElements, bytes: $0.blockBytes)
          }
        })
      guard case .gguf(let file) = files else { throw Missing(what: path) }
      return (try ModelConfiguration(gguf: file), file.tensors)
    }
    let folder = Folder(path: path)
    guard let config = try folder.object("config.json") else { throw Missing(what: path) }
    return (
      try ModelConfiguration(config: config, path: folder.path("config.json")),
      try folder.tensors(mode: .map, progress: nil)
    )
  }
}

/// The folder of the tiny models, with a slash behind it.
let tinyFixtures =
  "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/") + "/Fixtures/tiny/"

private struct Missing: Error { let what: String }

/// golden.safetensors of a model.
private struct Golden {
  let entries: [TensorEntry]

  init(_ name: String) throws {
    entries = try SafetensorsFile.read(
      FileBytes(path: tinyFixtures + name + "/golden.safetensors", mode: .copy))
  }

  func ids(_ name: String) throws -> [Int32] {
    try values(name) { reader in try reader.i32() }
  }

  func floats(_ name: String) throws -> [Float] {
    try values(name) { reader in try reader.f32() }
  }

  private func values<Value>(_ name: String, _ next: (inout ByteReader) throws -> Value) throws
    -> [Value]
  {
    guard let entry = entries.first(where: { $0.name == name }) else { throw Missing(what: name) }
    var reader = ByteReader(entry.region)
    var values: [Value] = []
    while reader.remaining > 0 { values.append(try next(&reader)) }
    return values
  }
}
