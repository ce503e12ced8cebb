internal import QwenFormats
internal import QwenModel

extension Digest {
  /// Bytes of each tensor that are looked at: at its beginning, in its middle and at its end.
  private static let sampled = 256

  /// Adds what changes numbers: sizes, angles, windows.
  mutating func add(_ c: ModelConfiguration) {
    add(c.family.rawValue)
    add([
      c.vocabularyRows, c.hiddenSize, c.layerCount, c.queryHeads, c.kvHeads, c.headDim, c.rotaryDim,
      c.intermediateSize, c.isTied ? 1 : 0, c.trainedLength, c.usesDynamicNTK ? 1 : 0,
      c.usesLogN ? 1 : 0,
    ])
    add("\(c.normEpsilon) \(c.rotaryBase) \(c.rotaryScaling) \(c.rotaryPairing)")
    add("\(c.fixedAlpha ?? 0)")
    add(c.windows.map { $0 ?? -1 })
    if let experts = c.experts {
      add([experts.count, experts.perToken, experts.width, experts.sharedWidth])
      add([experts.normalizes ? 1 : 0] + experts.denseLayers.sorted())
    }
  }

  /// What tells one checkpoint from another: its sizes, its vocabulary, and names, types, shapes and samples of all
  /// its tensors. Touches three pages of each tensor.
  static func fingerprint(
    _ configuration: ModelConfiguration, tokenizer: String, _ archive: TensorArchive?,
    _ policy: WeightPolicy
  ) -> String {
    var digest = Digest()
    digest.add(configuration)
    digest.add(tokenizer)
    for entry in archive?.entries ?? [] {
      digest.add(entry.name)
      digest.add("\(entry.type)")
      digest.add(entry.shape)
      unsafe entry.region.withUnsafeBytes { bytes in
        let length = min(sampled, bytes.count)
        for start in [0, (bytes.count - length) / 2, bytes.count - length] {
          unsafe digest.add(UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
        }
      }
    }
    // What is converted computes other keys and values.
    for (part, format) in WeightPart.allCases.map({ ($0, policy.format($0)) }) {
      if let format { digest.add("\(part.rawValue) \(format.name)") }
    }
    return digest.text
  }
}
