/// Finds and opens the safetensors files of a model folder.
enum SafetensorsFolder {
  static let single = "model.safetensors"
  static let index = "model.safetensors.index.json"

  /// The tensors of `model.safetensors`, or of the shards that the index names.
  static func open(
    _ folder: Folder, mode: FileBytes.Mode, progress: LoadProgress?
  ) throws(FormatError) -> TensorArchive {
    if folder.has(single) {
      let file = try FileBytes(path: folder.path(single), mode: mode, progress: progress)
      return try TensorArchive(path: folder.path, entries: try SafetensorsFile.read(file))
    }
    guard let document = try folder.json(index) else {
      throw FormatError(
        .missing, path: folder.path, "has neither \(single) nor \(index)",
        hint: folder.has("pytorch_model.bin")
          ? "this build reads safetensors; convert pytorch_model.bin first"
          : "give the folder of a downloaded model, or a .gguf file")
    }
    return try sharded(folder, document, mode: mode, progress: progress)
  }

  private static func sharded(
    _ folder: Folder, _ document: JSONValue, mode: FileBytes.Mode, progress: LoadProgress?
  ) throws(FormatError) -> TensorArchive {
    let path = folder.path(index)
    guard let map = document["weight_map"]?.object else {
      throw FormatError(.malformed, path: path, "has no \"weight_map\"")
    }
    var shards: [String] = []
    var seen: Set<String> = []
    for (name, value) in map.entries {
      guard let shard = value.string, Folder.isPlainName(shard) else {
        throw FormatError(
          .malformed, path: path, "tensor \"\(escaped(name))\" lies in no file of this folder")
      }
      if seen.insert(shard).inserted { shards.append(shard) }
    }
    var entries: [TensorEntry] = []
    for shard in shards {
      guard folder.has(shard) else {
        throw FormatError(
          .missing, path: folder.path(shard), "is missing, one of \(shards.count) shards",
          hint: "download it into the same folder")
      }
      let file = try FileBytes(path: folder.path(shard), mode: mode, progress: progress)
      for entry in try SafetensorsFile.read(file) where map[entry.name]?.string == shard {
        entries.append(entry)
      }
    }
    if entries.count < map.count {
      let found = Set(entries.map(\.name))
      let lost = map.keys.first { !found.contains($0) } ?? ""
      throw FormatError(
        .malformed, path: path, "tensor \"\(escaped(lost))\" is not in the shard it names",
        hint: "the shards and the index don't belong together, download them again")
    }
    return try TensorArchive(path: folder.path, entries: entries)
  }
}
