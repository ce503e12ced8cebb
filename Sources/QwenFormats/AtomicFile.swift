internal import Glibc
private import Synchronization

/// A file that is there as a whole or not at all: bytes go to a neighbour with another name, which takes the place of
/// the old file in one step once they are on the disk.
///
/// Without `commit` the neighbour is removed and the old file stays as it is.
package struct AtomicFile: ~Copyable {
  private let path: String
  private let temporary: String
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var isCommitted = false

  private static let bufferSize = 1 << 20
  private static let counter = Atomic<UInt32>(0)

  /// Makes the neighbour. Throws `.io` or `.missing` if the folder does not take files.
  package init(path: String) throws(FormatError) {
    guard !path.isEmpty, !path.utf8.contains(0) else {
      throw FormatError(.missing, path: path, "is no path for a file")
    }
    let number = Self.counter.add(1, ordering: .relaxed).newValue
    let name = "\(path).\(getpid()).\(number).tmp"
    let opened = unsafe open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard opened >= 0 else { throw systemError(path: name, "can't be created", code: errno) }
    self.path = path
    temporary = name
    descriptor = opened
    buffer.reserveCapacity(Self.bufferSize)
  }

  deinit {
    close(descriptor)
    if !isCommitted { _ = unsafe unlink(temporary) }
  }

  /// Appends bytes.
  package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    if buffer.count + bytes.count > Self.bufferSize { try flush() }
    if bytes.count >= Self.bufferSize {
      try unsafe Self.put(bytes, descriptor, temporary)
    } else {
      unsafe buffer.append(contentsOf: bytes)
    }
  }

  /// Brings everything to the disk and puts it in the old file's place.
  package mutating func commit() throws(FormatError) {
    try flush()
    guard fsync(descriptor) == 0 else {
      throw systemError(path: temporary, "can't be brought to the disk", code: errno)
    }
    guard unsafe rename(temporary, path) == 0 else {
      throw systemError(path: path, "can't be replaced", code: errno)
    }
    isCommitted = true
    // The name too: a folder that can't be opened or synchronised is not worth a failure now.
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let parent = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if parent >= 0 {
      fsync(parent)
      close(parent)
    }
  }

  private mutating func flush() throws(FormatError) {
    try Self.put(buffer, descriptor, temporary)
    buffer.removeAll(keepingCapacity: true)
  }

  private static func put(
    _ bytes: [UInt8], _ descriptor: Int32, _ name: String
  ) throws(FormatError) {
    try unsafe bytes.span.withUnsafeBytes { (bytes) throws(FormatError) in
      try unsafe put(bytes, descriptor, name)
    }
  }

  private static func put(
    _ bytes: UnsafeRawBufferPointer, _ descriptor: Int32, _ name: String
  ) throws(FormatError) {
    var position = 0
    while position < bytes.count, let start = bytes.baseAddress {
      let wrote = unsafe Glibc.write(descriptor, start + position, bytes.count - position)
      if wrote < 0 && errno == EINTR { continue }
      guard wrote > 0 else {
        throw systemError(path: name, "can't be written", code: errno)
      }
      position += wrote
    }
  }
}
