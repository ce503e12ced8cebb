/// What a path holds: a model folder, or a model in GGUF.
package enum ModelFiles: Sendable {
  case folder(Folder)
  case gguf(GGUFFile)

  /// Looks at `path` and reads headers; `layout` knows the block sizes of GGUF tensor types.
  package static func open(
    path: String, mode: FileBytes.Mode, progress: LoadProgress? = nil,
    layout: (UInt32) -> BlockLayout?
  ) throws(FormatError) -> ModelFiles {
    guard !path.isEmpty else {
      throw FormatError(
        .missing, path: "", "the path is empty", hint: "give a model folder or a .gguf file")
    }
    var path = path
    if Folder.exists(path) {
      switch try ModelFolder.find(path) {
      case .folder(let folder): return .folder(folder)
      case .file(let inside): path = inside
      }
    }
    let file = try FileBytes(path: path, mode: mode, progress: progress)
    try Stray.refuse(file)
    for ending in [".safetensors", ".bin", ".json"] where path.hasSuffix(ending) {
      throw FormatError(
        .unsupported, path: path, "is one file of a model folder",
        hint: "give the folder, which has config.json and the tokenizer too")
    }
    return .gguf(try GGUFFile.open(file, progress: progress, layout: layout))
  }
}

extension Folder {
  /// The tensors of the folder's safetensors files, or of its torch files if it has no others.
  package func tensors(
    mode: FileBytes.Mode, progress: LoadProgress? = nil
  ) throws(FormatError) -> TensorArchive {
    try Checkpoint.open(self, mode: mode, progress: progress)
  }
}
