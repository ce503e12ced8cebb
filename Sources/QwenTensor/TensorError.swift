/// Why an operation or an allocation of this layer could not be done.
package enum TensorError: Error, Equatable {
  /// The system refused this many bytes.
  case memory(byteCount: Int)
  /// Matrices that don't fit together; the text names both.
  case shape(String)
  /// The run was cancelled between two row blocks; outputs are unfinished.
  case cancelled
  /// The run's deadline passed between two row blocks; outputs are unfinished.
  case deadline
}
