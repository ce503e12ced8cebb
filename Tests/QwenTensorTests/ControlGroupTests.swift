import QwenTensor
import Testing

@Suite struct `Quota of a control group` {
  @Test(
    arguments: [
      ("200000 100000\n", 2), ("150000 100000", 2), ("50000 100000", 1), ("1 100000", 1),
      ("max 100000\n", nil), ("-1\n 100000\n", nil), ("", nil), ("100000", nil), ("5 0", nil),
      ("9223372036854775807 1", Int.max),
    ] as [(String, Int?)])
  func `is whole processors, rounded up`(_ text: String, _ processors: Int?) {
    #expect(ControlGroup.quota(text) == processors)
  }

  @Test func `leaves at least one thread`() {
    #expect(WorkerPool.processorCount >= 1)
  }
}
