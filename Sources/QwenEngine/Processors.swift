internal import Glibc

/// Processors this process may run on, by its affinity mask; at least 1.
func processorCount() -> Int {
  var set = cpu_set_t()
  let size = MemoryLayout<cpu_set_t>.size
  guard unsafe sched_getaffinity(0, size, &set) == 0 else { return 1 }
  return unsafe withUnsafeBytes(of: &set) { bytes in
    unsafe max(1, bytes.reduce(0) { $0 + $1.nonzeroBitCount })
  }
}

/// Seconds on the monotonic clock.
func monotonicSeconds() -> Double {
  var time = timespec()
  unsafe clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
