import ChangeModel
import SystemPackage

/// Which dead letters a replay is to try: a change that was refused several times is tried once for all of them.
struct ReplayPlan {
    /// A change and the sink that refused it.
    struct Key: Hashable {
        var sink: String
        var offset: Int64
    }

    /// The open letters of each change, ascending.
    private(set) var twins: [Key: [Int64]] = [:]
    private var selected: Set<Key> = []
    /// Letters asked for by number that were dealt with before.
    private(set) var settled: [ReplayResult] = []

    /// Throws `PipelineError.unavailable` where a number was asked for that is not there.
    init(_ reader: DeadLetterReader, _ selection: DeadLetterSelection) throws(PipelineError) {
        var reader = reader
        var found: Set<Int64> = []
        while let letters = try reader.next() {
            for letter in letters {
                let isWanted = selection.contains(letter, reader.resolutions[letter.number])
                if selection.numbers?.contains(letter.number) ?? false { found.insert(letter.number) }
                if let resolution = reader.resolutions[letter.number] {
                    guard isWanted, selection.numbers != nil else { continue }
                    settled.append(ReplayResult(letter, .before(resolution.outcome)))
                    continue
                }
                let key = Key(sink: letter.sink, offset: letter.offset)
                twins[key, default: []].append(letter.number)
                if isWanted { selected.insert(key) }
            }
        }
        try selection.check(found: found)
    }

    var sinks: Set<String> { Set(selected.map(\.sink)) }

    /// Whether the letter is the one to be tried for its change.
    func tries(_ letter: DeadLetter) -> Bool {
        let key = Key(sink: letter.sink, offset: letter.offset)
        return selected.contains(key) && twins[key]?.first == letter.number
    }

    func twins(of letter: DeadLetter) -> [Int64] {
        twins(of: Key(sink: letter.sink, offset: letter.offset))
    }

    func twins(of key: Key) -> [Int64] { twins[key] ?? [] }

    /// Whether a letter is open that a sink is known to have.
    func isOpen(_ letter: ReplayedLetter, sink: String) -> Bool {
        twins[Key(sink: sink, offset: letter.offset)]?.contains(letter.number) ?? false
    }
}

/// The letters that a plan tries for one sink, in stretches of bounded size.
struct ReplayLetters {
    /// Held at once; the pipeline's log is read once for as many.
    private static let windowBytes = 32 << 20
    private static let windowLetters = 50_000

    private var reader: DeadLetterReader?
    private let plan: ReplayPlan
    private let sink: String

    init(_ logDirectory: FilePath, _ plan: ReplayPlan, sink: String) throws(PipelineError) {
        reader = try DeadLetterReader(logDirectory: logDirectory)
        self.plan = plan
        self.sink = sink
    }

    /// Empty at the end.
    mutating func next() throws(PipelineError) -> [DeadLetter] {
        var window: [DeadLetter] = []
        var bytes = 0
        while bytes < ReplayLetters.windowBytes, window.count < ReplayLetters.windowLetters,
            let letters = try reader?.next()
        {
            for letter in letters where letter.sink == sink && plan.tries(letter) {
                window.append(letter)
                bytes += 512 + letter.change.path.utf8.count + (letter.change.data?.count ?? 0)
            }
        }
        return window
    }
}

/// What became of one dead letter in a replay.
public struct ReplayResult: Sendable {
    public enum Verdict: Sendable, Hashable {
        case resolved(DeadLetterOutcome)
        /// It stays open.
        case refused(String)
        /// An earlier replay dealt with it; nothing was done.
        case before(DeadLetterOutcome)
    }

    public var number: Int64
    public var sink: String
    public var offset: Int64
    public var operation: String
    public var path: String
    public var verdict: Verdict

    init(_ letter: DeadLetter, number: Int64? = nil, _ verdict: Verdict) {
        self.number = number ?? letter.number
        sink = letter.sink
        offset = letter.offset
        operation = letter.change.operation.letter
        path = letter.change.path
        self.verdict = verdict
    }
}
