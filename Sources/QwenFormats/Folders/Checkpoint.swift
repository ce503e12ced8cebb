/// Finds and opens the files that hold the tensors of a model folder.
enum Checkpoint {
  /// The tensors of the first kind of files that the folder has.
  static func open(
    _ folder: Folder, mode: FileBytes.Mode, progress: LoadProgress?
  ) throws(FormatError) -> TensorArchive {
    for kind in CheckpointKind.all {
      guard let files = try kind.find(folder) else { continue }
      return try read(files, kind, folder, mode: mode, progress: progress)
    }
    if let kind = CheckpointKind.all.first, let files = try kind.only(folder) {
      return try read(files, kind, folder, mode: mode, progress: progress)
    }
    let names = (try? folder.names()) ?? []
    let other = names.filter {
      $0.hasSuffix(".gguf") || $0.hasSuffix(".pth") || $0.hasSuffix(".ot")
    }
    throw FormatError(
      .missing, path: folder.path,
      "has no weights: neither \(CheckpointKind.all.map(\.single).joined(separator: ", "))"
        + " nor an index of shards",
      hint: other.isEmpty
        ? "download the weights into the folder of config.json"
        : "there are \(escapedList(other)); give a .gguf file itself")
  }

  private static func read(
    _ files: CheckpointFiles, _ kind: CheckpointKind, _ folder: Folder, mode: FileBytes.Mode,
    progress: LoadProgress?
  ) throws(FormatError) -> TensorArchive {
    let missing = files.names.filter { !folder.has($0) }
    guard missing.isEmpty else { throw absent(missing, of: files, folder) }
    var entries: [TensorEntry] = []
    for name in files.names {
      let file = try FileBytes(path: folder.path(name), mode: mode, progress: progress)
      for entry in try kind.read(file) {
        if let map = files.map, map[entry.name]?.string != name { continue }
        entries.append(entry)
      }
    }
    if let map = files.map, entries.count < map.count {
      let found = Set(entries.map(\.name))
      let lost = map.keys.first { !found.contains($0) } ?? ""
      throw FormatError(
        .malformed, path: folder.path(kind.index),
        "tensor \"\(escaped(lost))\" is not in the shard it names",
        hint: "the shards and the index don't belong together, download them again")
    }
    return try TensorArchive(path: folder.path, entries: entries)
  }

  /// Shards that are not there, with what a download may have left of them.
  private static func absent(
    _ missing: [String], of files: CheckpointFiles, _ folder: Folder
  ) -> FormatError {
    if missing.count == 1, folder.hasBrokenLink(missing[0]) { return folder.brokenLink(missing[0]) }
    let names = (try? folder.names()) ?? []
    let endings = [".incomplete", ".part", ".aria2", ".crdownload", ".download", ".tmp"]
    let partial = names.filter { name in
      endings.contains { name.hasSuffix($0) } || name == "._____temp"
    }
    let hint =
      partial.isEmpty
      ? "download \(missing.count == 1 ? "it" : "them") into the same folder"
      : "a download was not finished (\(escapedList(partial))); let it finish or start it again"
    if missing.count == 1 {
      return FormatError(
        .missing, path: folder.path(missing[0]), "is missing, one of \(files.names.count) shards",
        hint: hint)
    }
    return FormatError(
      .missing, path: folder.path,
      "\(missing.count) of \(files.names.count) shards are missing: \(escapedList(missing))",
      hint: hint)
  }
}

/// The files of a checkpoint.
struct CheckpointFiles {
  /// In the order of the index, or of the names.
  let names: [String]
  /// Tensor to file, where there is an index.
  var map: JSONObject?
}

/// One way in which folders hold tensors: names of files, and who reads them.
struct CheckpointKind: Sendable {
  /// Name without shard number and ending.
  let stem: String
  let ending: String
  let read: @Sendable (FileBytes) throws(FormatError) -> [TensorEntry]

  var single: String { stem + ending }
  var index: String { single + ".index.json" }

  /// In the order in which they are looked for.
  static let all = [
    CheckpointKind(
      stem: "model", ending: ".safetensors",
      read: { (file) throws(FormatError) in try SafetensorsFile.read(file) }),
    CheckpointKind(
      stem: "pytorch_model", ending: ".bin",
      read: { (file) throws(FormatError) in try TorchFile.read(file) }),
  ]

  /// The files of this kind, nil if there are none.
  func find(_ folder: Folder) throws(FormatError) -> CheckpointFiles? {
    if folder.has(single) { return CheckpointFiles(names: [single]) }
    if folder.hasBrokenLink(single) { throw folder.brokenLink(single) }
    if let document = try folder.json(index) { return try indexed(document, folder) }
    let names = try folder.names().filter { $0.hasSuffix(ending) }
    return numbered(names).map { CheckpointFiles(names: $0) }
  }

  /// The only file with this ending, whatever its name.
  func only(_ folder: Folder) throws(FormatError) -> CheckpointFiles? {
    let names = try folder.names().filter { $0.hasSuffix(ending) }
    guard names.count == 1, !names[0].hasPrefix("adapter_") else { return nil }
    return CheckpointFiles(names: names)
  }

  private func indexed(
    _ document: JSONValue, _ folder: Folder
  ) throws(FormatError) -> CheckpointFiles {
    let path = folder.path(index)
    guard let map = document["weight_map"]?.object else {
      throw FormatError(.malformed, path: path, "has no \"weight_map\"")
    }
    var names: [String] = []
    var seen: Set<String> = []
    for (name, value) in map.entries {
      guard let shard = value.string, Folder.isPlainName(shard) else {
        throw FormatError(
          .malformed, path: path, "tensor \"\(escaped(name))\" lies in no file of this folder")
      }
      if seen.insert(shard).inserted { names.append(shard) }
    }
    return CheckpointFiles(names: names, map: map)
  }

  /// All names `stem-00001-of-00008` that the names there are imply; nil if none is of that form.
  private func numbered(_ names: [String]) -> [String]? {
    for name in names where name.hasPrefix(stem + "-") {
      let parts = name.dropLast(ending.count).dropFirst(stem.count + 1).split(separator: "-")
      guard parts.count == 3, parts[1] == "of", let total = Int(parts[2]), Int(parts[0]) != nil,
        total >= 1, total <= 9999
      else { continue }
      func padded(_ number: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, parts[2].count - digits.count)) + digits
      }
      return (1...total).map { "\(stem)-\(padded($0))-of-\(parts[2])\(ending)" }
    }
    return nil
  }
}
