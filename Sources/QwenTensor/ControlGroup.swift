internal import Glibc

/// What the process's control group allows it: containers are limited by a quota of time, which an affinity mask
/// does not show. Threads beyond the quota only wait for each other.
package enum ControlGroup {
  /// Whole processors' worth of time, rounded up; nil for no limit, or none that can be read.
  ///
  /// Reads `cpu.max` of the group that is mounted at /sys/fs/cgroup: within a container that is its own.
  package static var processors: Int? {
    if let text = read("/sys/fs/cgroup/cpu.max") { return quota(text) }
    guard let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
      let period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
    else { return nil }
    return ControlGroup.quota(quota + " " + period)
  }

  /// The processors of "quota period" in microseconds, as "150000 100000"; nil for "max", "-1" and what makes no sense.
  package static func quota(_ text: String) -> Int? {
    let words = text.split { $0 == " " || $0 == "\n" }
    guard words.count >= 2, let quota = Int(words[0]), let period = Int(words[1]), quota > 0,
      period > 0
    else { return nil }
    return (quota - 1) / period + 1
  }

  /// The beginning of a small file.
  static func read(_ path: String) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { _ = close(file) }
    var bytes = [UInt8](repeating: 0, count: 128)
    let count = unsafe Glibc.read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}
