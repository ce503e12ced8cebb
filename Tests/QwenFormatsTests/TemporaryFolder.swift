import Glibc
import QwenFormats
import Testing

/// A folder of its own for one test, removed with its files at the end.
final class TemporaryFolder {
  let path: String
  var folder: Folder { Folder(path: path) }

  init() throws {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/libqwen-test-XXXXXX\0".utf8).map { CChar(bitPattern: $0) }
    try #require(mkdtemp(&template) != nil)
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { remove(path) }

  /// Writes a file; folders in its name are made.
  func write(_ name: String, _ bytes: some Collection<UInt8>) throws {
    makeFolders(name)
    unlink(path + "/" + name)
    let descriptor = open(path + "/" + name, O_CREAT | O_WRONLY | O_EXCL, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let data = Array(bytes)
    try #require(Glibc.write(descriptor, data, data.count) == data.count)
  }

  func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }

  /// Makes a link to `target`, as it is written.
  func link(_ name: String, to target: String) throws {
    makeFolders(name)
    try #require(symlink(target, path + "/" + name) == 0)
  }

  private func makeFolders(_ name: String) {
    var at = path
    for part in name.split(separator: "/").dropLast() {
      at += "/" + part
      mkdir(at, 0o700)
    }
  }

  private func remove(_ path: String) {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
      for name in (try? Folder(path: path).names()) ?? [] { remove(path + "/" + name) }
      rmdir(path)
    } else {
      unlink(path)
    }
  }
}
