import SegmentLog
public import SystemPackage

/// Takes dead letters out of their log. The numbers of the others stay: in a purged one's place an empty record
/// remains.
public struct DeadLetterPurge {
    private let logDirectory: FilePath
    private let selection: DeadLetterSelection

    public init(logDirectory: FilePath, selection: DeadLetterSelection) {
        self.logDirectory = logDirectory
        self.selection = selection
    }

    /// Shows each letter that is to go and, if asked to, removes them for good. Returns how many.
    ///
    /// Throws `PipelineError.unavailable` where a pipeline holds the log or a number is not there. Nothing is
    /// removed then.
    public func run(executing: Bool, _ show: (DeadLetter) -> Void) throws(PipelineError) -> Int {
        guard executing else { return try select(show).count }
        do {
            // A pipeline opens its dead letters only when it has one to write; its own lock tells that it runs.
            let lock = try LogLock(logDirectory)
            let directory = DeadLetterReader.directory(of: logDirectory)
            guard try DeadLetterReader(logDirectory: logDirectory) != nil else {
                return try select(show).count
            }
            // What a crash has torn is cut off before anything is rewritten.
            try LogWriter.open(directory, configuration: LogConfiguration(), initialGeneration: 0).close()
            let numbers = try select(show)
            if !numbers.isEmpty {
                try LogRewrite.replace(in: directory) { record in
                    guard record.type == DeadLetterCodec.letterType, numbers.contains(record.offset) else {
                        return nil
                    }
                    return LogRewrite.Replacement(type: DeadLetterCodec.purgedType)
                }
            }
            withExtendedLifetime(lock) {}
            return numbers.count
        } catch let error as LogError {
            throw PipelineError(log: error)
        } catch let error as PipelineError {
            throw error
        } catch {
            throw .failed("\(error)")
        }
    }

    private func select(_ show: (DeadLetter) -> Void) throws(PipelineError) -> Set<Int64> {
        var numbers: Set<Int64> = []
        var found: Set<Int64> = []
        if var reader = try DeadLetterReader(logDirectory: logDirectory) {
            while let letters = try reader.next() {
                for letter in letters {
                    if selection.numbers?.contains(letter.number) ?? false { found.insert(letter.number) }
                    guard selection.contains(letter, reader.resolutions[letter.number]) else { continue }
                    numbers.insert(letter.number)
                    show(letter)
                }
            }
        }
        try selection.check(found: found)
        return numbers
    }
}
