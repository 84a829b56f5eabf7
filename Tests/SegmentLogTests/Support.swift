import Foundation
import SegmentLog
import SystemPackage

/// A directory that goes when the test is over.
final class Scratch {
    let path: FilePath

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(
            "millrace-log-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = FilePath(url.path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }

    func bytes(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path.appending(name).string)))
    }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path.appending(name).string))
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path.appending(name).string)
    }

    /// A copy, as after a crash: whatever the writer holds is not in it.
    func copy() throws -> Scratch {
        let copy = try Scratch()
        for name in try names() { try copy.write(try bytes(name), to: name) }
        return copy
    }

    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path.string).sorted()
    }

    /// The log's lock, with the same patience.
    func lock() throws -> LogLock {
        for _ in 0..<50 { if let lock = try? LogLock(path) { return lock } }
        return try LogLock(path)
    }

    var segments: [String] { get throws { try names().filter { $0.hasSuffix(".lz4") } } }

    /// Opens the log for writing. A process that another test is just starting may hold the lock of a writer
    /// that is gone for a moment (between fork and exec), so a taken lock is tried again.
    func open(
        segmentBytes: Int = 1 << 20, fsync: FsyncPolicy = .never, retention: Retention = Retention(),
        generation: UInt16 = 0, patience: Duration = .seconds(5)
    ) throws -> LogWriter {
        let configuration = LogConfiguration(
            segmentBytes: segmentBytes, fsync: fsync, indexIntervalBytes: 256, retention: retention)
        let deadline = ContinuousClock.now + patience
        while ContinuousClock.now < deadline {
            if let writer = try? LogWriter.open(
                path, configuration: configuration, initialGeneration: generation)
            {
                return writer
            }
            guard LogDirectory.writerProcess(path) != nil else { break }
            usleep(1000)
        }
        return try LogWriter.open(path, configuration: configuration, initialGeneration: generation)
    }
}

extension LogWriter {
    @discardableResult
    func append(_ texts: [String], at time: Int64 = 1000, position: [UInt8] = []) throws -> Range<Int64> {
        var batch = RecordBatchBuilder()
        for text in texts { batch.append(type: 1) { $0.append(contentsOf: text.utf8) } }
        return try append(batch, position: position, timestampMilliseconds: time)
    }
}

/// All records from an offset on, as text by offset.
func read(_ path: FilePath, from offset: Int64 = 0) throws -> [Int64: String] {
    var reader = try LogReader(path, from: offset)
    var found: [Int64: String] = [:]
    while let batch = try reader.next() {
        batch.forEach { found[$0.offset] = String(decoding: $0.payload, as: UTF8.self) }
    }
    return found
}

struct Numbers: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
