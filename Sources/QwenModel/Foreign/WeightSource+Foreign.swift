internal import QwenFormats
internal import QwenTensor

extension WeightSource {
  /// A layer that another program quantised, as rows of a format of ours that are made when they are asked for.
  func linear(
    _ found: any ForeignMatrix, _ name: String, bias: Bias
  ) throws(FormatError) -> Linear {
    let values = try self.bias(name, count: found.rows, bias)
    do {
      let order = try found.order.map { (places) throws(TensorError) in try InputOrder(places) }
      return try Linear(try found.deferred(), bias: values, order: order)
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
