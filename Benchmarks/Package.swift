// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nobody's build pays for it.
let package = Package(
    name: "benchmarks",
    dependencies: [
        .package(name: "millrace", path: ".."),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        .executableTarget(
            name: "transform",
            dependencies: [
                .product(name: "Mapping", package: "millrace"),
                .product(name: "PipelineDefinition", package: "millrace"),
            ]),
        .executableTarget(
            name: "biglog",
            dependencies: [
                .product(name: "ChangeModel", package: "millrace"),
                .product(name: "SegmentLog", package: "millrace"),
                .product(name: "SystemPackage", package: "swift-system"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
