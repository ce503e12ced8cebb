package import QwenTensor

/// Activation buffers of a step, made once for the largest step a session takes.
@safe
package final class Workspace: @unchecked Sendable {
  package let compute: Compute
  package let maximumTokens: Int
  let hidden: FloatBuffer
  let normed: FloatBuffer
  let query: FloatBuffer
  let key: FloatBuffer
  let value: FloatBuffer
  let attended: FloatBuffer
  let gate: FloatBuffer
  let up: FloatBuffer
  let experts: ExpertBuffers?
  let rotary: RotaryTable
  let attention: AttentionScratch
  /// Tokens and sequences of the step under way; they keep their memory.
  var tokens: [Int32] = []
  var spans: [SequenceSpan] = []

  /// Buffers for steps of up to `maximumTokens` tokens.
  package init(
    _ c: ModelConfiguration, maximumTokens: Int, threads: Int, isExact: Bool, control: RunControl,
    sharesOutliers: Bool = false, roundsToBFloat: Bool = false, blas: OpenBLAS? = nil
  ) throws(TensorError) {
    self.maximumTokens = maximumTokens
    compute = try Compute(
      threads: threads, isExact: isExact, control: control, maximumTokens: maximumTokens,
      maximumColumns: Workspace.widest(c), sharesOutliers: sharesOutliers,
      roundsToBFloat: roundsToBFloat, blas: blas)
    let (q, kv) = (c.queryHeads * c.headDim, c.kvHeads * c.headDim)
    hidden = try FloatBuffer(count: maximumTokens * c.hiddenSize)
    normed = try FloatBuffer(count: maximumTokens * c.hiddenSize)
    query = try FloatBuffer(count: maximumTokens * q)
    key = try FloatBuffer(count: maximumTokens * kv)
    value = try FloatBuffer(count: maximumTokens * kv)
    attended = try FloatBuffer(count: maximumTokens * q)
    gate = try FloatBuffer(count: maximumTokens * c.intermediateSize)
    up = try FloatBuffer(count: maximumTokens * c.intermediateSize)
    var experts: ExpertBuffers?
    if let sizes = c.experts { experts = try ExpertBuffers(c, sizes, tokens: maximumTokens) }
    self.experts = experts
    rotary = try RotaryTable(maximumTokens: maximumTokens, half: c.rotaryDim / 2)
    attention = try AttentionScratch(
      threads: compute.threads, shape: c.attentionShape(layer: 0))
    tokens.reserveCapacity(maximumTokens)
  }

  /// Bytes that `init` takes for these sizes.
  package static func byteCount(
    _ c: ModelConfiguration, maximumTokens: Int, threads: Int, roundsToBFloat: Bool
  ) -> Int {
    let (q, kv) = (c.queryHeads * c.headDim, c.kvHeads * c.headDim)
    let aToken =
      2 * c.hiddenSize + 2 * q + 2 * kv + 2 * c.intermediateSize + c.rotaryDim
    let ofExperts = c.experts.map { ExpertBuffers.byteCount(c, $0, tokens: maximumTokens) } ?? 0
    return maximumTokens * aToken * 4 + ofExperts
      + Compute.scratchBytes(
        threads: threads, tokens: maximumTokens, columns: widest(c), roundsToBFloat: roundsToBFloat)
  }

  /// The widest row that any product of this model reads or adds to.
  private static func widest(_ c: ModelConfiguration) -> Int {
    max(
      c.hiddenSize, c.queryHeads * c.headDim, c.intermediateSize, c.experts?.width ?? 0,
      c.experts?.sharedWidth ?? 0)
  }
}
