// swift-tools-version: 6.2
import PackageDescription

/// Every target of Millrace is compiled alike: Swift 6 mode, strict imports, warnings are errors.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

/// The fuzz targets are part of the tests. With MILLRACE_FUZZ set (`Scripts/fuzz`) the same files become a program
/// under libFuzzer instead, so that no other build pays for it.
let fuzzed: [Target.Dependency] =
    [
        "ChangeModel", "Engine", "LZ4", "Mapping", "PipelineDefinition", "RedisClient", "RedisSink",
        "SegmentLog",
        "ZooKeeperClient", systemPackage,
    ] + nio
let fuzzing: Target =
    if Context.environment["MILLRACE_FUZZ"] == nil {
        .testTarget(
            name: "FuzzTests", dependencies: fuzzed + ["TestRandom"], path: "Tests/Fuzz",
            exclude: ["Corpus", "Driver", "yaml.dict"],
            swiftSettings: strict)
    } else {
        .executableTarget(
            name: "millrace-fuzz", dependencies: fuzzed, path: "Tests/Fuzz",
            exclude: ["Corpus", "Tests", "yaml.dict"], swiftSettings: strict)
    }

let package = Package(
    name: "millrace",
    products: [
        .executable(name: "millrace", targets: ["millrace"]),
        .library(name: "ZooKeeperClient", targets: ["ZooKeeperClient"]),
        .library(name: "RedisClient", targets: ["RedisClient"]),
        .library(name: "SegmentLog", targets: ["SegmentLog"]),
        // For Benchmarks/.
        .library(name: "ChangeModel", targets: ["ChangeModel"]),
        .library(name: "Mapping", targets: ["ChangeModel", "JQ", "Mapping"]),
        .library(name: "PipelineDefinition", targets: ["PipelineDefinition"]),
    ],
    dependencies: [
        // Sockets and event loops for both clients.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        // TLS on the connections to Redis, and of observers to ZooKeeper's quorum.
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        // The command line: options, help, usage errors.
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        // One logging interface for all modules; the command line decides where lines go.
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        // Typed file descriptors and paths for the segment log.
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        // SIGTERM and SIGINT as an asynchronous sequence (its product UnixSignals only).
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        // YAML with the position of every node, for errors that name line and column.
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        // zlib, since znodes are often compressed with gzip.
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        // zstd, for the same reason.
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        // jq, for what rules cannot say. JQ runs it in a process of its own, which is the same program once more; nothing else
        // may call libjq.
        .systemLibrary(name: "CJQ", providers: [.apt(["libjq-dev"])]),
        .target(name: "JQ", dependencies: ["CJQ"], swiftSettings: strict),
        // libcrypto, for digests of keys and of what must not be shown: swift-crypto would be a package more, whose copy
        // inside of NIOSSL is not for others.
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        // simdjson, for JSON: Foundation's parser takes longer than all else that a rule does. C++ behind a C function.
        .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "Gzip", dependencies: ["CZlib"], swiftSettings: strict),
        .target(name: "LZ4", dependencies: ["CLZ4"], swiftSettings: strict),
        .target(name: "Zstd", dependencies: ["CZstd"], swiftSettings: strict),
        .target(name: "ChangeModel", swiftSettings: strict),
        .target(name: "SegmentLog", dependencies: ["LZ4", systemPackage], swiftSettings: strict),
        .target(
            name: "Mapping",
            dependencies: [
                "ChangeModel", "CCrypto", "CSimdJSON", "Gzip", "JQ", "LZ4", "Zstd",
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),
        .target(
            name: "PipelineDefinition",
            dependencies: ["JQ", "Mapping", "ChangeModel", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict),
        .target(
            name: "ZooKeeperClient",
            // libcrypto for MD5, by which servers of a quorum know each other.
            dependencies: nio + [.product(name: "NIOSSL", package: "swift-nio-ssl"), "CCrypto", logging],
            swiftSettings: strict),
        .target(
            name: "RedisClient",
            dependencies: nio + [
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"), logging,
            ],
            swiftSettings: strict),
        .target(
            name: "Engine",
            dependencies: ["ChangeModel", "SegmentLog", "Mapping", logging, systemPackage],
            swiftSettings: strict),
        .target(
            name: "ZooKeeperSource",
            dependencies: ["Engine", "ChangeModel", "ZooKeeperClient", logging, systemPackage],
            swiftSettings: strict),
        .target(
            name: "RedisSink",
            dependencies: ["Engine", "ChangeModel", "Mapping", "SegmentLog", "RedisClient", logging],
            swiftSettings: strict),
        // HTTP from NIOHTTP1, which comes with swift-nio: four GETs need no framework, and one (Hummingbird) would make every
        // clean build minutes longer.
        .target(
            name: "AdminServer",
            dependencies: nio + ["Engine", .product(name: "NIOHTTP1", package: "swift-nio"), logging],
            swiftSettings: strict),
        .executableTarget(
            name: "millrace",
            dependencies: [
                "AdminServer", "ChangeModel", "JQ", "SegmentLog", "Mapping", "PipelineDefinition", "Engine",
                "ZooKeeperSource",
                "RedisSink", logging, systemPackage,
                "RedisClient", "ZooKeeperClient",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            // The definitions in Pipelines/ are what `millrace create` writes.
            resources: [
                .embedInCode("Templates/audit-stream.yaml"),
                .embedInCode("Templates/clickhouse-replicas.yaml"),
                .embedInCode("Templates/cluster-membership.yaml"),
                .embedInCode("Templates/config-sync.yaml"),
                .embedInCode("Templates/curator-discovery.yaml"),
                .embedInCode("Templates/dubbo-providers.yaml"),
                .embedInCode("Templates/hbase-servers.yaml"),
                .embedInCode("Templates/kafka-registrations.yaml"),
                .embedInCode("Templates/quickstart.yaml"),
                .embedInCode("Templates/service-registry.yaml"),
                .embedInCode("Templates/solr-collections.yaml"),
                .embedInCode("Templates/spring-config.yaml"),
            ],
            swiftSettings: strict),

        .target(
            name: "TestServers", dependencies: nio + [logging], path: "Tests/TestServers",
            swiftSettings: strict),
        .target(name: "TestRandom", path: "Tests/TestRandom", swiftSettings: strict),
        .testTarget(name: "LZ4Tests", dependencies: ["LZ4"], swiftSettings: strict),
        .testTarget(
            name: "ChangeModelTests", dependencies: ["ChangeModel", "TestRandom"], swiftSettings: strict),
        .testTarget(
            name: "SegmentLogTests", dependencies: ["SegmentLog", "LZ4", systemPackage], swiftSettings: strict
        ),
        .testTarget(
            name: "MappingTests",
            // The program, for jq's worker.
            dependencies: ["Mapping", "ChangeModel", "Gzip", "JQ", "LZ4", "TestRandom", "Zstd", "millrace"],
            swiftSettings: strict),
        .testTarget(
            name: "PipelineDefinitionTests",
            dependencies: ["PipelineDefinition", "Mapping", "ChangeModel", "JQ", "millrace"],
            swiftSettings: strict),
        .testTarget(
            name: "ZooKeeperClientTests",
            dependencies: [
                "ZooKeeperClient", "TestRandom", "TestServers", logging,
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ] + nio,
            swiftSettings: strict),
        .testTarget(
            name: "RedisClientTests",
            dependencies: ["RedisClient", "TestRandom", "TestServers", logging] + nio,
            swiftSettings: strict),
        .testTarget(
            name: "EngineTests",
            dependencies: ["Engine", "ChangeModel", "Mapping", "SegmentLog", logging, systemPackage],
            swiftSettings: strict),
        .testTarget(
            name: "ZooKeeperSourceTests",
            dependencies: ["ZooKeeperSource", "Engine", "ChangeModel", "ZooKeeperClient", systemPackage],
            swiftSettings: strict),
        .testTarget(
            name: "RedisSinkTests",
            dependencies: [
                "RedisSink", "Engine", "ChangeModel", "Mapping", "RedisClient", "SegmentLog", "TestServers",
                logging,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AdminServerTests",
            dependencies: nio + ["AdminServer", "Engine", "TestServers", logging],
            swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "TestRandom", "TestServers", "ZooKeeperClient", "RedisClient", "millrace", "ChangeModel",
                "Mapping",
                "PipelineDefinition", logging,
            ],
            path: "Tests/EndToEnd", swiftSettings: strict),
        fuzzing,
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
