import CQwen

extension Subcommand {
  static let quantize = Subcommand(
    name: "quantize", operands: "MODEL OUT", summary: "Writes a model in other storage formats.",
    operandCount: 2...2,
    details: """
      OUT ending in .gguf becomes a GGUF file that other programs load too; any other name a folder that
      libqwen maps in without converting anything. The work takes little memory, however large the model.
      """,
    sections: ["convert"]
  ) { invocation throws(Failure) in
    let start = monotonicSeconds()
    Interrupt.install(for: nil)
    defer { Interrupt.remove() }
    let status = qwen_model_convert(
      invocation.operands[0], invocation.operands[1], invocation.given["convert"].text,
      showConversion, nil)
    Terminal.clearProgress()
    try check(status)
    let seconds = decimal(monotonicSeconds() - start, 1)
    Terminal.writeError("wrote \(String(cString: invocation.operands[1])) in \(seconds) s\n")
  }
}

/// `qwen_progress_callback`: a percentage on a terminal; an interrupt stops.
private func showConversion(
  stage: UnsafePointer<CChar>?, fraction: Double, user: UnsafeMutableRawPointer?
) -> Int32 {
  let name = stage.map { String(cString: $0) } ?? ""
  Terminal.showProgress("\(name) \(decimal(fraction * 100, 0)) %")
  return Interrupt.isPending ? 1 : 0
}
