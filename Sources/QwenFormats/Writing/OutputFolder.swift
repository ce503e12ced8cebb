private import Glibc

/// A folder of files that comes into being whole: written beside its place under another name, then renamed.
///
/// One that is not committed is removed. Holds plain files only. For one thread.
@safe package final class OutputFolder {
  private let path: String
  private let temporary: String
  private let replaces: Bool
  private var names: Set<String> = []
  private var isDone = false

  /// Begins the folder; with `replaces` a packed folder of this name is replaced at the end, anything else is an error.
  package init(path: String, replaces: Bool) throws(FormatError) {
    var name = path
    while name.count > 1, name.hasSuffix("/") { name.removeLast() }
    guard !name.isEmpty, name != "/", !name.utf8.contains(0) else {
      throw FormatError(.missing, path: path, "is no name for a folder")
    }
    self.path = name
    self.replaces = replaces
    if Folder.exists(name) || !replaces { try OutputFolder.check(name, replaces: replaces) }
    temporary = temporaryName(name)
    guard unsafe mkdir(temporary, 0o777) == 0 else {
      throw systemError(path: temporary, "can't be created", code: errno)
    }
  }

  deinit {
    if !isDone { OutputFolder.remove(temporary) }
  }

  /// Whether a file of this name belongs to a model beside its weights.
  package static func isText(_ name: String) -> Bool {
    let endings = [".json", ".txt", ".tiktoken", ".jinja", ".md", ".model"]
    return (endings.contains { name.hasSuffix($0) } || name == "LICENSE")
      && !name.hasSuffix(".index.json") && name != "config.json" && name != "quantize_config.json"
  }

  /// Begins a file in it; commit it before the folder.
  package func file(_ name: String) throws(FormatError) -> OutputFile {
    names.insert(name)
    return try OutputFile(path: Folder(path: temporary).path(name), replaces: true)
  }

  /// Writes a small file.
  package func write(_ name: String, _ bytes: [UInt8]) throws(FormatError) {
    let file = try file(name)
    try file.write(bytes)
    try file.commit()
  }

  /// Copies a small file of another folder; links become files, what is no file is left out.
  package func copy(_ name: String, from folder: Folder) throws(FormatError) {
    guard !Folder.exists(folder.path(name)), let bytes = try folder.bytes(name) else { return }
    let file = try file(name)
    try unsafe bytes.all.withUnsafeBytes { (bytes) throws(FormatError) in
      try unsafe file.write(bytes)
    }
    try file.commit()
  }

  /// Gives the folder its name.
  package func commit() throws(FormatError) {
    let old = temporaryName(path)
    let isReplacing = replaces && Folder.exists(path)
    if isReplacing {
      guard unsafe rename(path, old) == 0 else {
        throw systemError(path: path, "can't be moved aside", code: errno)
      }
    }
    guard unsafe rename(temporary, path) == 0 else {
      let code = errno
      if isReplacing { unsafe rename(old, path) }
      throw systemError(path: path, "can't be given its name", code: code)
    }
    isDone = true
    syncFolder(of: path)
    if isReplacing { OutputFolder.remove(old) }
  }

  /// Throws unless the name is free, or a folder that this library wrote and may replace.
  private static func check(_ path: String, replaces: Bool) throws(FormatError) {
    guard replaces else { return try OutputFile.refuseExisting(path) }
    let config = try Folder(path: path).object("config.json")
    guard config?["libqwen"]?["packed"] != nil else {
      throw FormatError(
        .io, path: path, "is a folder that was not written by this library",
        hint: "choose another name, or remove it first")
    }
  }

  /// Removes a folder of plain files.
  private static func remove(_ path: String) {
    let folder = Folder(path: path)
    for name in (try? folder.names()) ?? [] { unsafe unlink(folder.path(name)) }
    unsafe rmdir(path)
  }
}
