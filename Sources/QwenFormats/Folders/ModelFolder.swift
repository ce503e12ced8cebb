/// Finds the folder with config.json from what people have: that folder, or one of a download cache; without config.json,
/// the only GGUF model in it.
///
/// Hugging Face keeps `models--owner--name/{blobs, refs, snapshots/<commit>}` with links, ModelScope plain
/// files in `owner/name` with `.msc` and configuration.json beside them.
enum ModelFolder {
  /// Longest text of a reference, a commit.
  private static let referenceLimit = 256

  enum Found {
    case folder(Folder)
    /// Path of a GGUF file.
    case file(String)
  }

  static func find(_ path: String) throws(FormatError) -> Found {
    let folder = Folder(path: path)
    let isCache = !folder.has("config.json") && Folder.exists(folder.path("snapshots"))
    return isCache ? try snapshot(folder) : try model(in: folder)
  }

  /// The snapshot that the branch `main` means, or the only one.
  private static func snapshot(_ repository: Folder) throws(FormatError) -> Found {
    let snapshots = Folder(path: repository.path("snapshots"))
    let names = try snapshots.names().filter { Folder.exists(snapshots.path($0)) }
    var commit: String?
    if let file = try? FileBytes(path: repository.path("refs/main"), mode: .copy),
      file.count <= referenceLimit
    {
      commit = file.all.repairedText().split(whereSeparator: \.isWhitespace).first.map(String.init)
    }
    if let commit, names.contains(commit) {
      return try model(in: Folder(path: snapshots.path(commit)))
    }
    if commit == nil, names.count == 1 {
      return try model(in: Folder(path: snapshots.path(names[0])))
    }
    throw FormatError(
      .missing, path: repository.path,
      commit.map { "refs/main means the snapshot \"\(escaped($0))\", which is not there" }
        ?? "has \(names.count) snapshots and no refs/main",
      hint: names.isEmpty
        ? "download the model again" : "give the folder of one: snapshots/\(escaped(names[0]))")
  }

  private static func model(in folder: Folder) throws(FormatError) -> Found {
    if folder.has("config.json") { return .folder(folder) }
    if folder.hasBrokenLink("config.json") { throw folder.brokenLink("config.json") }
    // Parts of one model count once.
    let files = ((try? folder.names()) ?? []).filter { $0.hasSuffix(".gguf") }
    let models = Set(files.map { GGUFParts(of: $0)?.name(0) ?? $0 })
    if models.count == 1, let file = files.first { return .file(folder.path(file)) }
    throw nothing(folder)
  }

  /// No model here; says what is.
  private static func nothing(_ folder: Folder) -> FormatError {
    let names = (try? folder.names()) ?? []
    let files = names.filter { $0.hasSuffix(".gguf") }
    let inside = names.filter { name in
      let inner = Folder(path: folder.path(name))
      return inner.has("config.json") || Folder.exists(inner.path("snapshots"))
    }
    var hint = "give the folder that holds config.json and the weights"
    if !files.isEmpty {
      hint = "give one file: \(escapedList(files))"
    } else if !inside.isEmpty {
      hint = "give one of the folders in it: \(escapedList(inside))"
    } else if names.contains("configuration.json") {
      hint =
        "configuration.json is ModelScope's own; config.json is missing, download the model again"
    } else if names.contains("adapter_config.json") {
      hint = "it holds an adapter, which needs its model: give the folder of that"
    } else if names.contains("params.json") {
      hint = "it holds a checkpoint of another layout: get the one with config.json"
    }
    return FormatError(.missing, path: folder.path, "has no config.json", hint: hint)
  }
}
