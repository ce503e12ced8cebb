private import Glibc

/// A folder whose files are read by plain name.
package struct Folder: Sendable {
  package let path: String

  package init(path: String) { self.path = path }

  /// The folder that holds the file at `path`, and the file's name in it.
  static func parent(of path: String) -> (folder: Folder, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (Folder(path: "."), path) }
    let name = String(path[path.index(after: slash)...])
    return (Folder(path: slash == path.startIndex ? "/" : String(path[..<slash])), name)
  }

  /// The path of one of its files.
  package func path(_ name: String) -> String {
    path.hasSuffix("/") ? path + name : path + "/" + name
  }

  /// Whether there is a file of that name; links are followed.
  package func has(_ name: String) -> Bool {
    unsafe Folder.isPlainName(name) && access(path(name), F_OK) == 0
  }

  /// Whether there is a link of that name whose target is not there.
  func hasBrokenLink(_ name: String) -> Bool {
    var status = stat()
    return unsafe Folder.isPlainName(name) && lstat(path(name), &status) == 0
      && status.st_mode & S_IFMT == S_IFLNK && !has(name)
  }

  /// The bytes of a file, nil if there is none.
  package func bytes(_ name: String) throws(FormatError) -> FileBytes? {
    guard has(name) else {
      if hasBrokenLink(name) { throw brokenLink(name) }
      return nil
    }
    let file = try FileBytes(path: path(name), mode: .copy)
    try Stray.refuseStandIn(file)
    return file
  }

  /// A JSON file, nil if there is none.
  package func json(_ name: String) throws(FormatError) -> JSONValue? {
    guard let file = try bytes(name) else { return nil }
    do {
      return try unsafe file.all.withUnsafeBytes { (bytes) throws(JSONSyntaxError) in
        try unsafe JSONValue(parsing: bytes)
      }
    } catch {
      throw FormatError(
        error.formatKind, path: file.path, offset: error.offset,
        "line \(error.line): \(error.message)", hint: "download the file again")
    }
  }

  /// A JSON file that holds an object, nil if there is none.
  package func object(_ name: String) throws(FormatError) -> JSONObject? {
    guard let value = try json(name) else { return nil }
    guard let object = value.object else {
      throw FormatError(.malformed, path: path(name), "is \(value.kindName), not an object")
    }
    return object
  }

  /// The error of a link whose target is not there.
  func brokenLink(_ name: String) -> FormatError {
    FormatError(
      .missing, path: path(name), "is a link to a file that is not there",
      hint: "the download is incomplete or was cleaned up, download the model again")
  }

  /// The names of its files, sorted.
  package func names() throws(FormatError) -> [String] {
    guard let directory = unsafe opendir(path) else {
      throw systemError(path: path, "can't be listed", code: errno)
    }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
          unsafe String(cString: $0)
        }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Whether a name stays inside its folder.
  static func isPlainName(_ name: String) -> Bool {
    !name.isEmpty && !name.contains("/") && !name.contains("\0") && name != "." && name != ".."
  }

  /// Whether `path` is a folder.
  package static func exists(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
