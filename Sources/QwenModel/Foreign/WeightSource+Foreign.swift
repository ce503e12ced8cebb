internal import QwenFormats
internal import QwenTensor

extension WeightSource {
  /// A layer that another program quantised, brought into a format of ours.
  ///
  /// Some programs leave a bias for every layer, of zeros where the model has none; one that is not counts, as it does
  /// for them.
  func linear(
    _ found: any ForeignMatrix, _ name: String, bias: Bias, part: WeightPart
  ) throws(FormatError) -> Linear {
    var values: FloatBuffer?
    if bias == .always || has(name + ".bias") {
      values = try vector(name + ".bias", count: found.rows)
      if bias == .never, let stray = values, stray.array().allSatisfy({ $0 == 0 }) { values = nil }
    }
    do {
      let order = try found.order.map { (places) throws(TensorError) in try InputOrder(places) }
      let weight = try loading.prepare(try found.matrix(threads: loading.threads), part)
      return try Linear(weight, bias: values, order: order)
    } catch {
      throw FormatError(error, path: archive.path, what: "layer \"\(escaped(name))\"")
    }
  }

  /// `layer`, with the order of inputs of `other` if that is the same.
  func sharing(_ layer: Linear, _ other: Linear) throws(FormatError) -> Linear {
    do {
      return try layer.sharing(other)
    } catch { throw FormatError(error, path: archive.path, what: "an order of inputs") }
  }
}
