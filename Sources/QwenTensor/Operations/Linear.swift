/// A weight matrix and, if the layer has one, its bias: y = W x + b.
package struct Linear: Sendable {
  package let weight: Matrix
  package let bias: FloatBuffer?

  /// Throws `TensorError.shape` if the bias has another length than the output.
  package init(_ weight: Matrix, bias: FloatBuffer? = nil) throws(TensorError) {
    if let bias, bias.count != weight.rows {
      throw .shape("a bias of \(bias.count) for \(weight.rows) outputs")
    }
    self.weight = weight
    self.bias = bias
  }
}
