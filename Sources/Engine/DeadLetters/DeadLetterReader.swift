import ChangeModel
import SegmentLog
public import SystemPackage

/// Reads the dead letters of a pipeline, one stretch of their log after the other, while it runs or not.
public struct DeadLetterReader {
    /// What was dealt with, by number. The one thing that is held of the whole log.
    public let resolutions: [Int64: DeadLetterResolution]
    private let directory: FilePath
    private var reader: LogReader

    /// The dead letters of the pipeline whose log lies in `logDirectory`; `nil` where none was ever written.
    ///
    /// Throws `PipelineError`.
    public init?(logDirectory: FilePath) throws(PipelineError) {
        directory = DeadLetterReader.directory(of: logDirectory)
        do {
            let start = try LogDirectory.startOffset(directory)
            resolutions = try DeadLetterReader.resolutions(directory, from: start)
            reader = try LogReader(directory, from: start)
        } catch  where error.code == .notFound {
            return nil
        } catch {
            throw PipelineError(log: error)
        }
    }

    static func directory(of logDirectory: FilePath) -> FilePath { logDirectory.appending("dead-letters") }

    /// The dead letters that were written together, purged ones left out; `nil` at the end.
    ///
    /// Throws `PipelineError.failed` for a record that is damaged or of a later version.
    public mutating func next() throws(PipelineError) -> [DeadLetter]? {
        do {
            guard let batch = try reader.next(below: nil) else { return nil }
            return try DeadLetterReader.letters(batch, directory)
        } catch {
            throw PipelineError(log: error)
        }
    }

    private static func letters(_ batch: RecordBatch, _ directory: FilePath) throws(LogError) -> [DeadLetter]
    {
        var letters: [DeadLetter] = []
        var number: Int64 = 0
        do {
            try batch.forEach { record in
                guard record.type == DeadLetterCodec.letterType else { return }
                number = record.offset
                letters.append(
                    try DeadLetterCodec.decodeLetter(
                        record.payload, number: record.offset, refused: batch.firstTimestamp))
            }
        } catch {
            throw LogError(code: .corrupt, message: "dead letter \(number): \(error)", file: directory.string)
        }
        return letters
    }

    private static func resolutions(
        _ directory: FilePath, from start: Int64
    ) throws(LogError) -> [Int64: DeadLetterResolution] {
        var reader = try LogReader(directory, from: start)
        var found: [Int64: DeadLetterResolution] = [:]
        while let batch = try reader.next(below: nil) {
            do {
                try batch.forEach { record in
                    guard record.type == DeadLetterCodec.resolvedType else { return }
                    let resolution = try DeadLetterCodec.decodeResolution(record.payload)
                    found[resolution.number] = resolution
                }
            } catch {
                throw LogError(
                    code: .corrupt, message: "a note behind dead letter \(batch.lastOffset): \(error)",
                    file: directory.string)
            }
        }
        return found
    }
}
