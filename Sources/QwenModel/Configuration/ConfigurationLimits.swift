internal import QwenFormats

extension ModelConfiguration {
  /// Refuses sizes that no model has or that don't fit together, before anything is allocated from them.
  ///
  /// `path` is the file they come from, for the message.
  func checked(path: String) throws(FormatError) -> ModelConfiguration {
    let limits: [(String, Int, ClosedRange<Int>)] = [
      ("vocabulary", vocabularyRows, 1...(1 << 24)), ("hidden size", hiddenSize, 1...(1 << 20)),
      ("number of layers", layerCount, 1...4096), ("number of heads", queryHeads, 1...65536),
      ("number of key/value heads", kvHeads, 1...65536), ("head size", headDim, 2...4096),
      ("rotary size", rotaryDim, 0...4096),
      ("intermediate size", intermediateSize, 1...(1 << 22)),
      ("context length", contextLength, 1...(1 << 28)),
      ("trained length", trainedLength, 1...(1 << 28)),
    ]
    for (name, value, range) in limits where !range.contains(value) {
      throw FormatError(
        .malformed, path: path,
        "the \(name) is \(value), outside \(range.lowerBound) to \(range.upperBound)")
    }
    if let experts {
      guard (1...4096).contains(experts.count), (1...experts.count).contains(experts.perToken),
        (1...(1 << 22)).contains(experts.width), (0...(1 << 22)).contains(experts.sharedWidth)
      else {
        throw FormatError(
          .malformed, path: path,
          "\(experts.perToken) of \(experts.count) experts of width \(experts.width), shared "
            + "\(experts.sharedWidth), are no mixture")
      }
    }
    guard queryHeads % kvHeads == 0 else {
      throw FormatError(
        .malformed, path: path,
        "\(queryHeads) query heads can't share \(kvHeads) key/value heads evenly")
    }
    guard queryHeads * headDim <= 1 << 22 else {
      throw FormatError(.malformed, path: path, "\(queryHeads) heads of \(headDim) are too wide")
    }
    guard headDim % 2 == 0, rotaryDim % 2 == 0, rotaryDim <= headDim else {
      throw FormatError(
        .malformed, path: path, "can't rotate \(rotaryDim) components of a head of \(headDim)")
    }
    guard normEpsilon.isFinite, normEpsilon >= 0 else {
      throw FormatError(.malformed, path: path, "the norm's epsilon is \(normEpsilon)")
    }
    guard rotaryBase.isFinite, rotaryBase > 0 else {
      throw FormatError(.malformed, path: path, "the rotary base is \(rotaryBase)")
    }
    return self
  }
}
