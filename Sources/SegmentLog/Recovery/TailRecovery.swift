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
    private(set) var index: SegmentIndex
    private(set) var nextOffset: Int64
    /// Bytes behind the last whole batch.
    private(set) var tornBytes: Int64 = 0
    /// Header of the last whole batch.
    private(set) var last: BatchHeader?

    /// - Parameter gaps: offsets that may be missing.
    /// - Throws: `.corrupt` for damage before the tail.
    init(
        _ file: LogFile, _ segment: Segment, gaps: LogGaps, indexInterval: Int, codec: LZ4Frame
    ) throws(LogError) {
        index = SegmentIndex(baseOffset: segment.baseOffset)
        nextOffset = segment.baseOffset
        // Offsets that are gone at the end are not given out again.
        defer { nextOffset = gaps.end(from: nextOffset) }
        let size = try file.size
        var headers = HeaderReader(file)
        while true {
            headers.position = index.size
            switch try headers.look(size: size) {
            case .end:
                return
            case .batch(let header):
                guard gaps.reach(header.baseOffset, from: nextOffset) else {
                    throw LogError(
                        code: .corrupt,
                        message: "a batch of offset \(header.baseOffset) where \(nextOffset) belongs; "
                            + segment.damageAdvice,
                        file: file.path.string, position: index.size)
                }
                do {
                    _ = try segment.batch(file, header, at: index.size, from: 0, codec: codec)
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
                            + "\(segment.damageAdvice)",
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
        var index = SegmentIndex(baseOffset: baseOffset)
        var last: BatchHeader?
        var headers = HeaderReader(file)
        while true {
            headers.position = index.size
            switch try headers.look(size: size) {
            case .end:
                return (index, last)
            case .batch(let header):
                index.add(header, interval: indexInterval)
                last = header
            case .broken(let message):
                throw LogError(
                    code: .corrupt, message: "\(message); \(damageAdvice)",
                    file: path.string, position: index.size)
            }
        }
    }
}
