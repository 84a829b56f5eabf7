// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that nobody's build pays for it.
let package = Package(
    name: "benchmarks",
    dependencies: [.package(name: "millrace", path: "..")],
    targets: [
        .executableTarget(
            name: "transform",
            dependencies: [
                .product(name: "Mapping", package: "millrace"),
                .product(name: "PipelineDefinition", package: "millrace"),
            ])
    ],
    swiftLanguageModes: [.v6]
)
