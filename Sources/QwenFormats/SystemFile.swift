internal import Glibc

/// An open descriptor of a regular file, closed when this goes; every system call on files is here.
package struct SystemFile: ~Copyable {
  /// The open descriptor.
  let descriptor: Int32
  /// The path it was opened by.
  package let path: String
  /// Size and identity at the time of opening.
  let identity: FileIdentity
  /// Size in bytes at the time of opening.
  package var count: Int { identity.size }

  /// Opens for reading; never blocks on a pipe, never leaks into a child.
  package init(path: String) throws(FormatError) {
    guard !path.isEmpty else {
      throw FormatError(.missing, path: path, "the path is empty", hint: "name a file or folder")
    }
    guard !path.utf8.contains(0) else {
      throw FormatError(.missing, path: path, "the path contains a NUL byte")
    }
    var opened: Int32 = -1
    repeat {
      opened = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    } while opened < 0 && errno == EINTR
    guard opened >= 0 else { throw systemError(path: path, "can't be opened", code: errno) }
    var status = stat()
    guard unsafe fstat(opened, &status) == 0 else {
      let code = errno
      close(opened)
      throw systemError(path: path, "can't be examined", code: code)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(opened)
      throw FormatError(
        .io, path: path, "is \(fileTypeName(status.st_mode)), not a regular file",
        hint: "give the path of the file itself")
    }
    descriptor = opened
    self.path = path
    identity = FileIdentity(status)
  }

  deinit { close(descriptor) }

  /// Reads from byte `first` on until `destination` is full; a file that ends before is an error.
  ///
  /// `progress` hears the bytes read so far after each 8 MiB and may stop the reading.
  package func read(
    into destination: UnsafeMutableRawBufferPointer, at first: Int = 0,
    progress: LoadProgress? = nil
  ) throws(FormatError) {
    var position = 0
    while position < destination.count {
      let wanted = min(destination.count - position, 8 << 20)
      // In bounds: position + wanted <= count, and a buffer that is not empty has an address.
      guard let start = destination.baseAddress else { return }
      let got = unsafe pread(descriptor, start + position, wanted, first + position)
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else { throw systemError(path: path, "can't be read", code: errno) }
      guard got > 0 else {
        throw FormatError(
          .io, path: path, offset: first + position,
          "shrank to \(first + position) bytes while it was read",
          hint: "wait until the download has finished")
      }
      position += got
      if let progress, !progress(position, destination.count) {
        throw FormatError(.cancelled, path: path, "the load was stopped")
      }
    }
  }
}

/// Hears how many of how many bytes are loaded; returns false to stop the load.
package typealias LoadProgress = (_ done: Int, _ total: Int) -> Bool

/// What tells one state of a file from another.
struct FileIdentity: Equatable, Sendable {
  var device: UInt64
  var inode: UInt64
  var size: Int
  var modifiedSeconds: Int
  var modifiedNanoseconds: Int

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = max(0, Int(status.st_size))
    modifiedSeconds = Int(status.st_mtim.tv_sec)
    modifiedNanoseconds = Int(status.st_mtim.tv_nsec)
  }
}

/// The error of a failed system call; `code` is errno.
func systemError(path: String, _ what: String, code: Int32) -> FormatError {
  let kind: FormatError.Kind =
    switch code {
    case ENOENT, ENOTDIR: .missing
    case ENOMEM: .memory
    default: .io
    }
  return FormatError(kind, path: path, "\(what): \(errorText(code))")
}

/// The system's words for an errno, without touching global state.
func errorText(_ code: Int32) -> String {
  unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
    // strerror_r writes a NUL-terminated string that fits into the buffer.
    guard let start = buffer.baseAddress, unsafe strerror_r(code, start, 128) == 0 else {
      return "error \(code)"
    }
    return unsafe String(cString: start)
  }
}

/// The kind of a file that is not a regular one, with its article.
private func fileTypeName(_ mode: mode_t) -> String {
  switch mode & S_IFMT {
  case S_IFDIR: "a folder"
  case S_IFIFO: "a pipe"
  case S_IFSOCK: "a socket"
  case S_IFCHR, S_IFBLK: "a device"
  default: "a special file"
  }
}
