internal import Glibc

/// Memory outside the Swift heap, so that running out of it is an error and not the end of the host.
///
/// Aligned to 64 bytes, filled with zeros. Freed when the last reference goes.
@safe
package final class Buffer: @unchecked Sendable {
  /// Start of the bytes; valid while the buffer lives.
  @unsafe package let address: UnsafeMutableRawPointer
  package let byteCount: Int
  private let isMapped: Bool

  /// From here on the kernel is asked directly: pages come zeroed and untouched, and go back at once.
  private static let mappedFrom = 1 << 20

  /// Throws `TensorError.memory` if the system refuses. `isDense`: all of it will be used, so large pages
  /// are asked for, which come faster and cost fewer look-ups.
  package init(byteCount: Int, isDense: Bool = false) throws(TensorError) {
    guard byteCount >= 0, byteCount <= Int.max - 4096 else {
      throw .memory(byteCount: byteCount)
    }
    let size = max(byteCount, 64)
    if size >= Self.mappedFrom {
      let mapped = unsafe mmap(
        nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
        throw .memory(byteCount: byteCount)
      }
      if isDense { _ = unsafe madvise(mapped, size, MADV_HUGEPAGE) }
      unsafe address = mapped
      isMapped = true
    } else {
      var pointer: UnsafeMutableRawPointer?
      guard unsafe posix_memalign(&pointer, 64, size) == 0, let pointer = unsafe pointer else {
        throw .memory(byteCount: byteCount)
      }
      unsafe memset(pointer, 0, size)
      unsafe address = pointer
      isMapped = false
    }
    self.byteCount = byteCount
  }

  /// Hands the whole pages within `range` back to the system: they read as zeros from now on. Others stay.
  package func discard(_ range: Range<Int>) {
    let page = 4096
    let first = (max(0, range.lowerBound) + page - 1) / page * page
    let end = min(byteCount, range.upperBound) / page * page
    guard isMapped, first < end else { return }
    _ = unsafe madvise(address + first, end - first, MADV_DONTNEED)
  }

  deinit {
    if isMapped {
      unsafe munmap(address, max(byteCount, 64))
    } else {
      unsafe free(address)
    }
  }
}

/// Floats in a `Buffer`: activations, biases, norm weights.
@safe
package struct FloatBuffer: Sendable {
  private let buffer: Buffer
  package let count: Int

  /// `count` zeros.
  package init(count: Int) throws(TensorError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: 4)
    guard !overflow else { throw .memory(byteCount: Int.max) }
    buffer = try Buffer(byteCount: bytes)
    self.count = count
  }

  /// A copy of these values.
  package init(_ values: [Float]) throws(TensorError) {
    try self.init(count: values.count)
    for (index, value) in values.enumerated() { unsafe pointer[index] = value }
  }

  /// Start of the floats; valid while this value or a copy of it lives.
  @unsafe package var pointer: UnsafeMutablePointer<Float> {
    unsafe buffer.address.assumingMemoryBound(to: Float.self)
  }

  /// A copy of `count` floats from `start` on, cut to what exists.
  package func array(from start: Int = 0, count wanted: Int? = nil) -> [Float] {
    let first = min(max(start, 0), count)
    let length = min(max(wanted ?? count - first, 0), count - first)
    return unsafe Array(UnsafeBufferPointer(start: pointer + first, count: length))
  }

  /// The floats of `range` in memory of their own.
  package func copy(_ range: Range<Int>) throws(TensorError) -> FloatBuffer {
    guard range.lowerBound >= 0, range.upperBound <= count else {
      throw .shape("values \(range) of \(count)")
    }
    let part = try FloatBuffer(count: range.count)
    unsafe part.pointer.update(from: pointer + range.lowerBound, count: range.count)
    return part
  }
}
