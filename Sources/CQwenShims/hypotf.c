/* hypotf for the static Swift runtime (complex and SIMD code refer to it).
 *
 * glibc gave hypotf a new version in 2.35; a library built there would not load on 2.34. A hidden
 * definition of our own keeps the reference inside the library. Squares of floats are exact enough in
 * double and can't overflow, so one rounding of the root remains. C99 F.9.4.3: infinity beats NaN. */
__attribute__((visibility("hidden"))) float hypotf(float x, float y) {
  if (__builtin_isinf(x) || __builtin_isinf(y)) return __builtin_inff();
  return (float)__builtin_sqrt((double)x * (double)x + (double)y * (double)y);
}
