/// A weight matrix and, if the layer has one, its bias: y = W x + b.
package struct Linear: Sendable {
  package let weight: Matrix
  package let bias: FloatBuffer?
  /// Which input each column of the matrix takes; nil for its own.
  package let order: InputOrder?

  /// Throws `TensorError.shape` if the bias has another length than the output, or the order than the input.
  package init(
    _ weight: Matrix, bias: FloatBuffer? = nil, order: InputOrder? = nil
  ) throws(TensorError) {
    if let bias, bias.count != weight.rows {
      throw .shape("a bias of \(bias.count) for \(weight.rows) outputs")
    }
    if let order, order.count != weight.columns {
      throw .shape("an order of \(order.count) for \(weight.columns) inputs")
    }
    self.weight = weight
    self.bias = bias
    self.order = order
  }

  /// The same layer, with the order of `other` if that says the same: products that share an order are computed
  /// together.
  package func sharing(_ other: Linear) throws(TensorError) -> Linear {
    guard let order, let theirs = other.order, order.equals(theirs) else { return self }
    return try Linear(weight, bias: bias, order: theirs)
  }
}

/// A permutation of inputs, as quantisers that sort them by importance leave it. Immutable, shared by threads.
@safe
package final class InputOrder: Sendable {
  package let count: Int
  private let places: Buffer

  /// Throws `TensorError.shape` if `places` are not 0 ..< count in some order.
  package init(_ places: [Int32]) throws(TensorError) {
    var seen = [Bool](repeating: false, count: places.count)
    for place in places {
      guard place >= 0, Int(place) < places.count, !seen[Int(place)] else {
        throw .shape("an order of inputs names \(place) twice or not at all")
      }
      seen[Int(place)] = true
    }
    count = places.count
    self.places = try Buffer(byteCount: places.count * 4)
    unsafe self.places.address.assumingMemoryBound(to: Int32.self).update(
      from: places, count: places.count)
  }

  /// Whether both say the same.
  package func equals(_ other: InputOrder) -> Bool {
    count == other.count && (0..<count).allSatisfy { self[$0] == other[$0] }
  }

  private subscript(place: Int) -> Int32 {
    unsafe places.address.assumingMemoryBound(to: Int32.self)[place]
  }

  /// target[i] = source[place i], `count` values. The caller has checked the sizes of both.
  @unsafe func gather(_ source: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>) {
    let places = unsafe places.address.assumingMemoryBound(to: Int32.self)
    for i in 0..<count { unsafe target[i] = source[Int(places[i])] }
  }

  /// target[place i] = source[i], `count` values: what `gather` did undone. The caller has checked the sizes of both.
  @unsafe func scatter(_ source: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>) {
    let places = unsafe places.address.assumingMemoryBound(to: Int32.self)
    for i in 0..<count { unsafe target[Int(places[i])] = source[i] }
  }

  /// Lends the places, `count` integers of 32 bits.
  package func withBytes<E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    try unsafe body(UnsafeRawBufferPointer(start: places.address, count: count * 4))
  }
}
