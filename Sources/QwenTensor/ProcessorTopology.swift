internal import CQwenKernels

/// Which processors are threads of one core: they share its multipliers, so that a second thread there only waits for
/// the first.
package enum ProcessorTopology {
  /// Most processors that are looked at.
  private static let room = 1024

  /// Cores that have at least one of the processors this process may run on; at least 1.
  package static var allowedCores: Int { cores(of: allowed) }

  /// Processors this process may run on; at least 1.
  package static var allowedProcessors: Int { max(1, allowed.count) }

  private static var allowed: [Int] {
    var numbers = [Int32](repeating: 0, count: room)
    let count = unsafe qk_processors(&numbers, Int32(room))
    return numbers.prefix(max(0, Int(count))).map(Int.init)
  }

  /// The number of cores that these processors belong to, at least 1, by the files under `folder`. A processor whose file is
  /// missing, or does not name it, counts as a core of its own.
  package static func cores(
    of processors: [Int], folder: String = "/sys/devices/system/cpu"
  ) -> Int {
    var first: Set<Int> = []
    for processor in processors {
      let path = "\(folder)/cpu\(processor)/topology/thread_siblings_list"
      first.insert(ControlGroup.read(path).flatMap { sibling($0, of: processor) } ?? processor)
    }
    return max(1, first.count)
  }

  /// The lowest number of a list as "0,64" or "2-3" that holds `processor`; nil for a list that makes no sense.
  private static func sibling(_ text: String, of processor: Int) -> Int? {
    var lowest = Int.max
    var isListed = false
    for range in text.split(whereSeparator: { $0 == "," || $0 == "\n" || $0 == " " }) {
      let ends = range.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
      guard let low = ends.first.flatMap({ Int($0) }), let high = ends.last.flatMap({ Int($0) }),
        low >= 0, low <= high
      else { return nil }
      lowest = min(lowest, low)
      if low <= processor, processor <= high { isListed = true }
    }
    return isListed ? lowest : nil
  }
}
