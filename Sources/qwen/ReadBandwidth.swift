import Glibc

/// How fast threads read memory: what writing tokens is measured against.
final class ReadBandwidth {
  /// Bytes that are read at a time, resident from the beginning; 0 where memory is too short for it.
  let byteCount: Int
  /// Bytes per second of each measurement so far.
  private(set) var runs: [Double] = []
  private let memory: UnsafeMutableRawPointer?

  /// More than any cache holds, but no more than a sixteenth of what is free.
  init() {
    let free = procBytes(in: "/proc/meminfo", of: "MemAvailable:") / 16
    let size = min(512 << 20, (free >> 21) << 21)
    let mapped =
      size < 64 << 20
      ? MAP_FAILED
      : mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let mapped, mapped != MAP_FAILED else {
      (memory, byteCount) = (nil, 0)
      return
    }
    madvise(mapped, size, MADV_HUGEPAGE)
    memset(mapped, 1, size)
    (memory, byteCount) = (mapped, size)
  }

  deinit {
    if let memory { munmap(memory, byteCount) }
  }

  /// Reads all of it once, in equal parts by `threads` threads, this one among them.
  func measure(threads wanted: Int) {
    guard let memory else { return }
    let threads = max(1, wanted)
    let share = byteCount / threads / ReadPart.unit * ReadPart.unit
    let parts = (0..<threads).map { ReadPart(start: memory + $0 * share, byteCount: share) }
    let start = monotonicSeconds()
    var others: [pthread_t] = []
    for part in parts.dropFirst() {
      var thread = pthread_t()
      guard
        pthread_create(&thread, nil, readMain, Unmanaged.passUnretained(part).toOpaque()) == 0
      else {
        part.read()
        continue
      }
      others.append(thread)
    }
    parts[0].read()
    // The threads have no part of their own.
    withExtendedLifetime(parts) {
      for thread in others { pthread_join(thread, nil) }
    }
    runs.append(Double(share * threads) / (monotonicSeconds() - start))
  }
}

/// What one thread reads.
private final class ReadPart: @unchecked Sendable {
  private let start: UnsafeMutableRawPointer
  private let byteCount: Int
  /// Kept, so that reading is not left out.
  private(set) var sum: UInt64 = 0
  static let unit = 256

  init(start: UnsafeMutableRawPointer, byteCount: Int) {
    (self.start, self.byteCount) = (start, byteCount)
  }

  func read() {
    let words = start.assumingMemoryBound(to: SIMD8<UInt64>.self)
    var sums = (SIMD8<UInt64>.zero, SIMD8<UInt64>.zero)
    for index in stride(from: 0, to: byteCount / 64, by: 2) {
      sums.0 &+= words[index]
      sums.1 &+= words[index + 1]
    }
    sum = (sums.0 &+ sums.1).wrappedSum()
  }
}

/// Entry of a thread, which its maker waits for.
private func readMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context { Unmanaged<ReadPart>.fromOpaque(context).takeUnretainedValue().read() }
  return nil
}

/// A size in kB from a file of /proc in bytes, 0 where there is none.
func procBytes(in path: String, of field: String) -> Int {
  guard let bytes = try? readAll(path) else { return 0 }
  for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n")
  where line.hasPrefix(field) {
    let number = line.dropFirst(field.count).drop { $0.isWhitespace }.prefix { $0.isNumber }
    return (Int(number) ?? 0) * 1024
  }
  return 0
}

/// What /proc/cpuinfo calls the processor; "unknown" where it says nothing.
func processorName() -> String {
  guard let bytes = try? readAll("/proc/cpuinfo") else { return "unknown" }
  for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
    guard line.hasPrefix("model name") || line.hasPrefix("Hardware"),
      let colon = line.firstIndex(of: ":")
    else { continue }
    let name = String(line[line.index(after: colon)...]).trimmed
    if !name.isEmpty { return name }
  }
  return "unknown"
}
