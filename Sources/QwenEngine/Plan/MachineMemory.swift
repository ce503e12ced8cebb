private import Glibc

/// The memory of the machine, or of the control group that confines this process.
struct MachineMemory {
  /// All there is, in bytes.
  var total: Int
  /// What could be taken now without swapping, file pages that may be dropped included.
  var available: Int

  /// Asks the system; a figure that can't be had is as large as possible.
  static func now() -> MachineMemory {
    let facts = lines("/proc/meminfo")
    func kilobytes(_ name: String) -> Int? {
      guard let line = facts.first(where: { $0.hasPrefix(name + ":") }) else { return nil }
      return line.dropFirst(name.count + 1).split(separator: " ").first.flatMap { Int($0) }
    }
    var memory = MachineMemory(
      total: (kilobytes("MemTotal") ?? Int.max >> 10) << 10,
      available: (kilobytes("MemAvailable") ?? Int.max >> 10) << 10)
    for group in groups() {
      guard let limit = number(group.limit), limit < memory.total else { continue }
      memory.total = limit
      memory.available = min(memory.available, max(0, limit - (number(group.used) ?? 0)))
    }
    return memory
  }

  /// Whether `bytes` more would leave an eighth of all memory, or half a gibibyte if that is less, for others.
  func canSpare(_ bytes: Int) -> Bool {
    available > bytes && available - bytes >= min(total / 8, 1 << 29)
  }

  /// Files with limit and use of the groups around this process, innermost first.
  private static func groups() -> [(limit: String, used: String)] {
    var found = [
      (
        limit: "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        used: "/sys/fs/cgroup/memory/memory.usage_in_bytes"
      )
    ]
    let place = lines("/proc/self/cgroup").first { $0.hasPrefix("0::/") }?.dropFirst(4) ?? ""
    var parts = place.split(separator: "/")
    while true {
      let folder = (["/sys/fs/cgroup"] + parts).joined(separator: "/")
      found.append((folder + "/memory.max", folder + "/memory.current"))
      if parts.popLast() == nil { return found }
    }
  }

  /// The number in a file, nil if there is none, as where the word is "max".
  private static func number(_ path: String) -> Int? { lines(path).first.flatMap { Int($0) } }

  /// The lines of a small file of the system; none if it can't be read.
  private static func lines(_ path: String) -> [Substring] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 16384)
    let count = unsafe bytes.withUnsafeMutableBytes {
      unsafe read(descriptor, $0.baseAddress, $0.count)
    }
    guard count > 0 else { return [] }
    return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
  }
}
