internal import Glibc

/// OpenBLAS, opened only when a host asks for it: `"matmul": "openblas"`.
///
/// Its sums depend on the number of tokens, so it is never a default. The rows are split over our own pool; if
/// nobody had opened it before, it is told to use one thread and to end those it started. A host that had
/// opened it keeps its settings.
@safe
package final class OpenBLAS: @unchecked Sendable {
  private typealias Gemm =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>?, Int32,
      UnsafePointer<Float>?, Int32, Float, UnsafeMutablePointer<Float>?, Int32
    ) -> Void
  private typealias SetThreads = @convention(c) (Int32) -> Void
  private typealias ShutDown = @convention(c) () -> Int32

  private let gemm: Gemm

  /// Opened at the first question; nil if no libopenblas.so.0 can be opened.
  package static let shared = OpenBLAS()

  private init?() {
    let wasOpen = unsafe dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != nil
    guard let handle = unsafe dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL),
      let symbol = unsafe dlsym(handle, "cblas_sgemm")
    else { return nil }
    if !wasOpen {
      if let setter = unsafe dlsym(handle, "openblas_set_num_threads") {
        unsafe unsafeBitCast(setter, to: SetThreads.self)(1)
      }
      if let shutDown = unsafe dlsym(handle, "blas_thread_shutdown_") {
        _ = unsafe unsafeBitCast(shutDown, to: ShutDown.self)()
      }
    }
    unsafe gemm = unsafeBitCast(symbol, to: Gemm.self)
  }

  /// y[t, r] = sum over k of weights[r, k] x[t, k]; all row-major with the given strides, in floats.
  @unsafe func multiply(
    weights: UnsafePointer<Float>, rows: Int, columns: Int, x: UnsafePointer<Float>, xStride: Int,
    tokens: Int, y: UnsafeMutablePointer<Float>, yStride: Int
  ) {
    let (rowMajor, noTranspose, transpose) = (Int32(101), Int32(111), Int32(112))
    unsafe gemm(
      rowMajor, noTranspose, transpose, Int32(truncatingIfNeeded: tokens),
      Int32(truncatingIfNeeded: rows), Int32(truncatingIfNeeded: columns), 1, x,
      Int32(truncatingIfNeeded: xStride), weights, Int32(truncatingIfNeeded: columns), 0, y,
      Int32(truncatingIfNeeded: yStride))
  }
}
