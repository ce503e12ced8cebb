import CQwenKernels
import Testing

@Suite struct `Kernel dispatch` {
  @Test func `an instruction set can be forced and given back`() {
    #expect(qk_cpu_force(0) == 0)
    #expect(qk_cpu_isa() == 0)
    let best = qk_cpu_force(-1)
    #expect(best == qk_cpu_force(99))
  }
}
