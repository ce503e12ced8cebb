import Glibc
import QwenTensor
import Synchronization
import Testing

/// Counts how often each part was done and whether two threads had one slot at a time.
private final class Tally: Sendable {
  let state = Mutex((done: [Int](), busy: Set<Int>(), slots: Set<Int>(), clashes: 0))
}

private struct CountingJob: ParallelJob {
  let tally: Tally
  let work: Int

  func run(part: Int, of count: Int) { run(part: part, of: count, slot: part) }

  func run(part: Int, of count: Int, slot: Int) {
    tally.state.withLock { state in
      if state.done.isEmpty { state.done = [Int](repeating: 0, count: count) }
      state.done[part] += 1
      state.slots.insert(slot)
      if !state.busy.insert(slot).inserted { state.clashes += 1 }
    }
    for _ in 0..<work { sched_yield() }
    tally.state.withLock { state in _ = state.busy.remove(slot) }
  }
}

@Suite struct `A pool of threads` {
  @Test(arguments: [(1, 1), (1, 4), (2, 2), (7, 2), (16, 2), (16, 3), (100, 5), (3, 8)])
  func `does each part once, each thread in a slot of its own`(_ parts: Int, _ threads: Int) {
    let pool = WorkerPool(limit: 8)
    pool.retain()
    defer { pool.release() }
    pool.exclusive {
      for round in 0..<50 {
        let tally = Tally()
        pool.run(
          CountingJob(tally: tally, work: round % 3), parts: parts, threads: threads)
        tally.state.withLock { state in
          #expect(state.done == [Int](repeating: 1, count: parts))
          #expect(state.clashes == 0 && state.busy.isEmpty)
        }
      }
    }
  }

  @Test func `takes no more threads than it may, whoever is there`() {
    let pool = WorkerPool(limit: 8)
    pool.retain()
    defer { pool.release() }
    pool.exclusive {
      pool.run(CountingJob(tally: Tally(), work: 0), parts: 6, threads: 6)
      for _ in 0..<50 {
        let tally = Tally()
        pool.run(CountingJob(tally: tally, work: 1), parts: 12, threads: 1)
        tally.state.withLock { state in
          #expect(state.done == [Int](repeating: 1, count: 12))
          #expect(state.clashes == 0)
        }
      }
    }
  }

  @Test func `has no more threads than processors`() {
    let pool = WorkerPool()
    pool.retain()
    defer { pool.release() }
    pool.exclusive {
      for _ in 0..<20 {
        let tally = Tally()
        pool.run(CountingJob(tally: tally, work: 20), parts: 400, threads: 100)
        tally.state.withLock { state in
          #expect(state.done == [Int](repeating: 1, count: 400))
          #expect(state.slots.count <= ProcessorTopology.allowedProcessors)
        }
      }
    }
  }
}
