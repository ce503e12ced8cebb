/// What a path holds: a folder as Hugging Face lays it out, or one GGUF file.
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
    if Folder.exists(path) {
      let folder = Folder(path: path)
      guard folder.has("config.json") else { throw noConfiguration(folder) }
      return .folder(folder)
    }
    let file = try FileBytes(path: path, mode: mode, progress: progress)
    try SafetensorsFile.refusePointer(file)
    return .gguf(try GGUFFile(file, layout: layout))
  }

  private static func noConfiguration(_ folder: Folder) -> FormatError {
    let names = (try? folder.names()) ?? []
    let files = names.filter { $0.hasSuffix(".gguf") }
    return FormatError(
      .missing, path: folder.path, "has no config.json",
      hint: files.isEmpty
        ? "give the folder that holds config.json and the weights"
        : "give the file itself: \(escapedList(files))")
  }
}

extension Folder {
  /// The tensors of the folder's safetensors files.
  package func tensors(
    mode: FileBytes.Mode, progress: LoadProgress? = nil
  ) throws(FormatError) -> TensorArchive {
    try SafetensorsFolder.open(self, mode: mode, progress: progress)
  }
}
