import LZ4
import SystemPackage

/// What an open found.
public struct RecoveryReport: Sendable, Hashable {
    /// Whether the last writer closed the log in an orderly way.
    public var wasClean = true
    public var truncatedBytes: Int64 = 0
    public var rebuiltIndexes = 0
    public var warnings: [String] = []
}

/// The last segment as an open finds it: every batch read and checked, up to the first that is not whole.
///
/// A torn tail is what a crash leaves and may be cut. Damage with a whole batch behind it is not: it is refused.
struct TailRecovery {
    /// Of the whole batches.
    private(set) var index = SegmentIndex()
    private(set) var nextOffset: Int64
    /// Bytes behind the last whole batch.
    private(set) var tornBytes: Int64 = 0
    /// Header of the last whole batch.
    private(set) var last: BatchHeader?

    /// Throws `.corrupt` for damage before the tail.
    init(_ file: LogFile, _ segment: Segment, indexInterval: Int, codec: LZ4Frame) throws(LogError) {
        nextOffset = segment.baseOffset
        let size = try file.size
        while true {
            switch try Segment.header(file, at: index.size, size: size) {
            case .end:
                return
            case .batch(let header):
                guard header.baseOffset == nextOffset else {
                    throw LogError(
                        code: .corrupt,
                        message: "a batch of offset \(header.baseOffset) where \(nextOffset) belongs",
                        file: file.path.string, position: index.size)
                }
                do {
                    _ = try Segment.batch(
                        file, header, at: index.size, from: 0, codec: codec, limit: LogReader.batchLimit)
                } catch {
                    guard index.size + header.totalLength == size else { throw error }
                    tornBytes = size - index.size
                    return
                }
                index.add(header, interval: indexInterval)
                nextOffset = header.lastOffset + 1
                last = header
            case .broken(let message):
                guard try !Segment.hasBatch(file, behind: index.size, size: size) else {
                    throw LogError(
                        code: .corrupt,
                        message: "\(message), with whole batches behind it; "
                            + "\(Segment.damageAdvice)",
                        file: file.path.string, position: index.size)
                }
                tornBytes = size - index.size
                return
            }
        }
    }
}

extension Segment {
    /// The index and the last header of a closed segment, read from its headers.
    ///
    /// Throws `.corrupt` where they do not reach its end.
    func scan(indexInterval: Int) throws(LogError) -> (index: SegmentIndex, last: BatchHeader?) {
        let file = try LogFile(path, .read)
        let size = try file.size
        var index = SegmentIndex()
        var last: BatchHeader?
        while true {
            switch try Segment.header(file, at: index.size, size: size) {
            case .end:
                return (index, last)
            case .batch(let header):
                index.add(header, interval: indexInterval)
                last = header
            case .broken(let message):
                throw LogError(
                    code: .corrupt, message: "\(message); \(Segment.damageAdvice)",
                    file: path.string, position: index.size)
            }
        }
    }
}
