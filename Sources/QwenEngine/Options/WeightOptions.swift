package import QwenFormats
package import QwenModel
internal import QwenTensor

extension WeightPolicy {
  /// The word for what lies in the files.
  static let storedWord = "stored"

  /// Words that the options "weights", "head" and "embeddings" take.
  static let words = [storedWord] + StorageFormat.encodable.map(\.word)

  /// The head's format where only "weights" are named and they are smaller: the logits see every rounding of it, and
  /// with 8 bits it costs a tenth of what 4-bit layers take.
  private static var headFormat: StorageFormat { .q8_0 }

  /// The policy of checked options: "weights" for the layers, "head", "embeddings".
  ///
  /// Where "head" is not named it takes the format of "weights", at least 8 bits, and stays as it is if it is
  /// smaller than that. Embeddings that are not named stay as stored.
  package init(options: JSONObject) {
    self.init()
    func format(_ name: String) -> StorageFormat? {
      options[name]?.string.flatMap { StorageFormat.encodable($0) }
    }
    layers = format("weights")
    head = format("head")
    embedding = format("embeddings")
    effort = options["rounding"]?.string == "best" ? .best : .plain
    if let layers, options["head"] == nil {
      let least = WeightPolicy.headFormat
      head = layers.bitsPerWeight < least.bitsPerWeight ? least : layers
      keepsNarrow.insert(.head)
    }
  }
}
