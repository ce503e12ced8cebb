// swift-tools-version: 6.2
// The targets and their arrows are the architecture: a target imports only what it lists here.
import PackageDescription

let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

// What the library's own code asks of the system goes through CQwenShims.
let wrapped = [
  "sigaction", "sigaltstack", "malloc", "calloc", "realloc", "free", "posix_memalign",
  "malloc_usable_size", "_Znwm", "_ZdlPvm", "_ZnwmSt11align_val_t", "_ZdlPvmSt11align_val_t",
]

let package = Package(
  name: "libqwen",
  products: [
    .library(name: "qwen", type: .dynamic, targets: ["QwenC"]),
    .executable(name: "qwen-command", targets: ["QwenCommand"]),
  ],
  targets: [
    // The contract: include/qwen.h.
    .systemLibrary(name: "CQwen", path: "include"),
    .systemLibrary(
      name: "CJansson", pkgConfig: "jansson", providers: [.apt(["libjansson-dev"])]),

    // Inner loops on raw memory. No allocation, no threads, no I/O, no model names.
    .target(name: "CQwenKernels", cSettings: [.unsafeFlags(["-O3", "-fno-math-errno"])]),

    // Between the static runtime and the system: older libm, the host's signals, a reserve of memory.
    .target(name: "CQwenShims"),

    // Files -> named bytes.
    .target(name: "QwenFormats", dependencies: ["CJansson"], swiftSettings: strict),
    // Storage formats, operations, threads.
    .target(name: "QwenTensor", dependencies: ["CQwenKernels"], swiftSettings: strict),
    // Text <-> tokens, chat.
    .target(name: "QwenText", dependencies: ["QwenFormats"], swiftSettings: strict),
    // Tokens -> logits, one file a family.
    .target(name: "QwenModel", dependencies: ["QwenFormats", "QwenTensor"], swiftSettings: strict),
    // Sessions, generation, sampling.
    .target(
      name: "QwenEngine", dependencies: ["QwenFormats", "QwenTensor", "QwenText", "QwenModel"],
      swiftSettings: strict),
    // C functions <-> Swift values; the only place where errors become integers.
    .target(
      name: "QwenC",
      dependencies: [
        "CQwen", "CQwenShims", "QwenFormats", "QwenText", "QwenEngine",
        // Not imported: a change of their types' layout must rebuild what knows the layout of a model.
        "QwenModel", "QwenTensor",
      ],
      swiftSettings: strict,
      linkerSettings: [
        .unsafeFlags(
          [
            "-static-stdlib", "-Xlinker", "-soname=libqwen.so.0", "-Xlinker", "-z", "-Xlinker",
            "nodelete", "-Xlinker", "-z", "-Xlinker", "relro", "-Xlinker", "-z", "-Xlinker", "now",
          ] + wrapped.flatMap { ["-Xlinker", "--wrap=\($0)"] }, .when(configuration: .release))
      ]),
    // The command, a host like any other: it imports the header only.
    .executableTarget(
      name: "QwenCommand", dependencies: ["CQwen", "QwenC"], path: "Sources/qwen",
      swiftSettings: [.enableUpcomingFeature("ExistentialAny")]),

    .testTarget(
      name: "QwenFormatsTests", dependencies: ["QwenFormats"], path: "Tests/QwenFormatsTests"),
    .testTarget(
      name: "QwenTensorTests", dependencies: ["QwenTensor", "CQwenKernels", "QwenFormats"],
      path: "Tests/QwenTensorTests"),
    .testTarget(
      name: "QwenTextTests", dependencies: ["QwenText", "QwenFormats"], path: "Tests/QwenTextTests"),
    .testTarget(
      name: "QwenModelTests", dependencies: ["QwenModel", "QwenTensor", "QwenFormats"],
      path: "Tests/QwenModelTests"),
    .testTarget(
      name: "QwenEngineTests",
      dependencies: ["QwenEngine", "QwenModel", "QwenText", "QwenTensor", "QwenFormats"],
      path: "Tests/QwenEngineTests"),
  ],
  swiftLanguageModes: [.v6]
)
