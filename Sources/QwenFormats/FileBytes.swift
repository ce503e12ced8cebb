internal import Glibc
private import Synchronization

/// The bytes of one regular file, mapped read-only or copied into memory.
///
/// Immutable and usable from any thread. Copied bytes live outside the Swift heap, so too little memory
/// is an error, and what happens to the file later does not matter. A mapped file that someone else cuts
/// while it is in use ends the process (SIGBUS); `isUnchanged()` sees it unless it happens in between.
@safe package final class FileBytes: Sendable {
  /// How the bytes come to memory.
  package enum Mode: Sendable {
    /// Pages are read when touched and shared with other processes.
    case map
    /// Everything is read at once into memory of our own.
    case copy
  }

  /// The path the file was opened by, or the name given to bytes from memory.
  package let path: String
  /// Size in bytes.
  package let count: Int
  /// How the bytes came to memory.
  package let mode: Mode

  /// Start of `count` readable bytes, valid as long as this object is. Never nil, also for no bytes.
  private let memory: Memory
  /// What the mapped file was like when it was opened, and a descriptor to ask again; nil for copies.
  private let source: Source?

  private struct Source: Sendable {
    var descriptor: Int32
    var identity: FileIdentity
  }

  /// Opens a regular file; pipes, devices and folders are refused at once.
  ///
  /// `progress` hears of each 8 MiB copied; mapping takes no time and is not reported.
  package init(path: String, mode: Mode, progress: LoadProgress? = nil) throws(FormatError) {
    let file = try SystemFile(path: path)
    let size = file.identity.size
    if mode == .map && size > 0 {
      memory = try Memory(mapping: file.descriptor, count: size, path: path)
      let kept = fcntl(file.descriptor, F_DUPFD_CLOEXEC, 0)
      source = kept >= 0 ? Source(descriptor: kept, identity: file.identity) : nil
    } else {
      let copy = try Memory(count: size, path: path)
      memory = copy
      source = nil
      // The memory was made for exactly size bytes, and nobody else knows it yet.
      try unsafe file.read(
        into: UnsafeMutableRawBufferPointer(start: copy.start, count: size), progress: progress)
    }
    self.path = path
    self.mode = mode
    count = size
  }

  /// Copies bytes that are already in memory; `name` stands for the path in messages.
  package init(copying bytes: UnsafeRawBufferPointer, name: String) throws(FormatError) {
    memory = try Memory(count: bytes.count, path: name)
    if let start = bytes.baseAddress, bytes.count > 0 {
      unsafe memory.start.copyMemory(from: start, byteCount: bytes.count)
    }
    path = name
    mode = .copy
    count = bytes.count
    source = nil
  }

  deinit {
    if let source { close(source.descriptor) }
  }

  /// Whether a mapped file still has the size and the time of change it had; true for copies.
  package func isUnchanged() -> Bool {
    guard let source else { return true }
    var status = stat()
    guard unsafe fstat(source.descriptor, &status) == 0 else { return false }
    return FileIdentity(status) == source.identity
  }

  /// Hands the pages that hold `count` bytes at `address` back to the system, which fetches them again when they
  /// are touched. Nothing happens to copied bytes, nor where the range lies outside the file.
  package func releasePages(_ address: UnsafeRawPointer, byteCount: Int) {
    let offset = unsafe address - start
    guard mode == .map, offset >= 0, byteCount > 0, offset <= count, byteCount <= count - offset
    else { return }
    let page = 4096
    let first = offset / page * page
    // Advice only. Neighbours that share the last page fetch it again.
    _ = unsafe madvise(
      UnsafeMutableRawPointer(mutating: start + first),
      (offset + byteCount + page - 1) / page * page - first, MADV_DONTNEED)
  }

  /// A part of the file; one that does not lie inside is an error.
  package func region(offset: Int, count: Int) throws(FormatError) -> ByteRegion {
    guard offset >= 0, count >= 0, offset <= self.count, count <= self.count - offset else {
      throw FormatError(
        .malformed, path: path, offset: max(0, offset),
        "needs \(count) bytes from byte \(offset) on, but the file has \(self.count)",
        hint: "download the file again")
    }
    return ByteRegion(owner: self, offset: offset, count: count)
  }

  /// The whole file.
  package var all: ByteRegion { ByteRegion(owner: self, offset: 0, count: count) }

  /// Start of the bytes; valid while this object lives.
  @unsafe var start: UnsafeRawPointer { unsafe UnsafeRawPointer(memory.start) }
}

/// Memory outside the Swift heap, freed when this goes.
@safe private final class Memory: @unchecked Sendable {
  /// Start of the bytes. Written only before the first hand-over.
  @unsafe let start: UnsafeMutableRawPointer
  /// Length of the mapping, or nil if the memory comes from malloc.
  private let mappedCount: Int?

  /// Copies below this size come from malloc, where sanitizers see each byte past the end.
  private static let mappingThreshold = 1 << 20

  /// Memory for `count` bytes, contents undefined.
  init(count: Int, path: String) throws(FormatError) {
    if count < Memory.mappingThreshold {
      var pointer: UnsafeMutableRawPointer?
      guard unsafe posix_memalign(&pointer, 64, max(count, 1)) == 0, let pointer = unsafe pointer
      else { throw Memory.error(count, path) }
      unsafe start = pointer
      mappedCount = nil
    } else {
      let flags = MAP_PRIVATE | MAP_ANONYMOUS
      let pointer = unsafe mmap(nil, count, PROT_READ | PROT_WRITE, flags, -1, 0)
      guard let pointer = unsafe pointer, unsafe pointer != MAP_FAILED else {
        throw Memory.error(count, path)
      }
      // Advice only: fewer page faults and TLB misses for weights, no loss where it is refused.
      _ = unsafe madvise(pointer, count, MADV_HUGEPAGE)
      unsafe start = pointer
      mappedCount = count
    }
  }

  /// The file's own pages, read-only. `count` > 0.
  init(mapping descriptor: Int32, count: Int, path: String) throws(FormatError) {
    let pointer = unsafe mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let pointer = unsafe pointer, unsafe pointer != MAP_FAILED else {
      throw systemError(path: path, "can't be mapped", code: errno)
    }
    unsafe start = pointer
    mappedCount = count
  }

  deinit {
    if let mappedCount { unsafe munmap(start, mappedCount) } else { unsafe free(start) }
  }

  private static func error(_ count: Int, _ path: String) -> FormatError {
    FormatError(
      .memory, path: path, "there is no memory for its \(count) bytes",
      hint: "map the file instead of copying it, or use a smaller model")
  }
}
