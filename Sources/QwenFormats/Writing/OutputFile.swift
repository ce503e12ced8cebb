private import Glibc

/// A file that comes into being whole: written beside its place under another name, synced, then renamed.
///
/// One that is not committed leaves nothing behind; a process that is killed leaves at most the file with the other
/// name, never half a file under the right one. For one thread.
@safe package final class OutputFile {
  /// The name it will have.
  package let path: String
  /// Bytes written so far.
  package private(set) var position = 0
  /// Where it is written until it is whole.
  private let temporary: String
  private let descriptor: Int32
  private let replaces: Bool
  /// What is not yet handed to the system.
  private var buffer: [UInt8] = []
  private var isDone = false

  private static let bufferSize = 1 << 20

  /// Begins the file; with `replaces` one that has this name already is replaced at the end, else that is an error.
  /// One that `isPrivate` is for this user alone.
  package init(path: String, replaces: Bool, isPrivate: Bool = false) throws(FormatError) {
    guard !path.isEmpty, !path.utf8.contains(0), !path.hasSuffix("/") else {
      throw FormatError(.missing, path: path, "is no name for a file")
    }
    if !replaces { try OutputFile.refuseExisting(path) }
    temporary = temporaryName(path)
    descriptor = unsafe open(
      temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, isPrivate ? 0o600 : 0o666)
    guard descriptor >= 0 else {
      throw systemError(path: path, "can't be created", code: errno)
    }
    self.path = path
    self.replaces = replaces
  }

  deinit {
    close(descriptor)
    if !isDone { unsafe unlink(temporary) }
  }

  /// Appends bytes.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    try refuseBeyondLimit(bytes.count)
    if buffer.count + bytes.count > OutputFile.bufferSize { try flush() }
    if bytes.count >= OutputFile.bufferSize {
      try unsafe put(bytes)
    } else {
      unsafe buffer.append(contentsOf: bytes)
    }
    position += bytes.count
  }

  private func flush() throws(FormatError) {
    var waiting: [UInt8] = []
    swap(&waiting, &buffer)
    // Span.withUnsafeBytes passes typed errors on, Array's does not.
    try unsafe waiting.span.withUnsafeBytes { (bytes) throws(FormatError) in try unsafe put(bytes) }
    waiting.removeAll(keepingCapacity: true)
    swap(&waiting, &buffer)
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    guard let start = bytes.baseAddress else { return }
    var done = 0
    while done < bytes.count {
      // In bounds: done < count.
      let written = unsafe Glibc.write(descriptor, start + done, min(bytes.count - done, 1 << 24))
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else {
        throw FormatError(
          .io, path: path, offset: position, "can't be written: \(errorText(errno))",
          hint: "free some space, or write to another disk")
      }
      done += written
    }
  }

  /// Appends bytes.
  package func write(_ bytes: [UInt8]) throws(FormatError) {
    try unsafe bytes.span.withUnsafeBytes { (bytes) throws(FormatError) in
      try unsafe write(bytes)
    }
  }

  /// Appends zeros up to a multiple of `alignment`.
  package func pad(to alignment: Int) throws(FormatError) {
    let rest = position % alignment
    if rest > 0 { try write([UInt8](repeating: 0, count: alignment - rest)) }
  }

  /// Brings everything to the disk and gives the file its name.
  package func commit() throws(FormatError) {
    try flush()
    guard fsync(descriptor) == 0 else {
      throw systemError(path: path, "can't be written", code: errno)
    }
    try giveName(temporary, path, replaces: replaces)
    isDone = true
  }

  /// A file beyond the process's limit would be answered by a signal, which ends a host that does not expect it.
  private func refuseBeyondLimit(_ count: Int) throws(FormatError) {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0,
      let end = checkedSum(position, count), UInt64(end) > limit.rlim_cur
    else { return }
    throw FormatError(
      .io, path: path, offset: position,
      "can't be written: files of this process may have \(limit.rlim_cur) bytes",
      hint: "raise the limit (ulimit -f)")
  }

  /// Throws if there is something of that name.
  package static func refuseExisting(_ path: String) throws(FormatError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return }
    throw FormatError(
      .io, path: path, "exists already", hint: "choose another name, or ask to overwrite it")
  }
}

/// A name in the same folder that nothing else has: hidden, with the process's number.
func temporaryName(_ path: String) -> String {
  let slash = path.lastIndex(of: "/")
  let folder = slash.map { String(path[...$0]) } ?? ""
  let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  let mark = String(UInt64(truncatingIfNeeded: time.tv_nsec), radix: 36)
  return
    "\(folder).\(String(decoding: name.utf8.prefix(200), as: UTF8.self)).\(getpid())-\(mark).part"
}

/// Gives a file its name and brings its folder to the disk. A file that has the name already is replaced, or is an
/// error, without a moment between the look and the act.
private func giveName(_ from: String, _ path: String, replaces: Bool) throws(FormatError) {
  if replaces {
    guard unsafe rename(from, path) == 0 else {
      throw systemError(path: path, "can't be given its name", code: errno)
    }
  } else if unsafe link(from, path) == 0 {
    unsafe unlink(from)
  } else {
    let code = errno
    try OutputFile.refuseExisting(path)
    // Some file systems have no links; the name is free as far as a look can tell.
    guard code == EPERM || code == ENOTSUP || code == ENOSYS, unsafe rename(from, path) == 0 else {
      throw systemError(path: path, "can't be given its name", code: code)
    }
  }
  syncFolder(of: path)
}

/// Brings the names in the folder of `path` to the disk, where the system can.
func syncFolder(of path: String) {
  let slash = path.lastIndex(of: "/")
  let folder = slash.map { String(path[...$0]) } ?? "."
  let opened = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  if opened >= 0 {
    fsync(opened)
    close(opened)
  }
}
