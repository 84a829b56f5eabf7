/// A jq program, compiled once for each worker and run for one input after the other, by any thread.
///
/// It runs in a process of its own (`JQWorker`), which is stopped where it takes too long and may end as it likes: a
/// change that ends it is an error, and the next one finds another worker.
public final class JQProgram: Sendable {
    public struct Limits: Sendable {
        /// How long one input may take, the way to the worker and back included.
        public var milliseconds = 1000
        /// How many outputs one input may have.
        public var outputs = 1000

        /// Values that all outputs for one input may have.
        static let values = 200_000
        /// How deep they may nest.
        static let depth = 512
        /// The text in them. The values' own bytes fit into the rest of a frame.
        static let textBytes = 64 << 20
        /// How deep an input may nest: what decoders take, and what stages add.
        static let inputDepth = 4096

        public init() {}
    }

    public let text: String
    private let limits: Limits
    private let workers: JQWorkers
    /// What the workers know it by.
    let number: UInt32

    /// Starts a worker where none is idle. Throws `JQError`, for a text that is no program with jq's own words.
    public convenience init(_ text: String, limits: Limits = Limits()) throws(JQError) {
        try self.init(text, limits: limits, workers: .shared)
    }

    init(_ text: String, limits: Limits = Limits(), workers: JQWorkers) throws(JQError) {
        self.text = text
        self.limits = limits
        self.workers = workers
        number = workers.addProgram()
        _ = try answer(to: nil)
    }

    deinit { workers.remove(program: number) }

    /// The outputs for one value, one behind the other until the end.
    ///
    /// Blocks for as long as the limits allow, and longer only where a worker has to be started.
    public func run(_ input: consuming JQEncoder) throws(JQError) -> JQDecoder {
        let request = JQFrame.run(input, program: number, limits)
        guard request.count <= JQFrame.maximumBytes else {
            throw JQError(.limit, "the value is larger than jq's \(JQFrame.maximumBytes >> 20) MiB")
        }
        return JQDecoder(
            try answer(to: request), from: JQFrame.answerHeader, values: Limits.values, depth: Limits.depth)
    }

    /// A frame with the outputs; without a request the program is only compiled.
    private func answer(to request: [UInt8]?) throws(JQError) -> [UInt8] {
        var mayBeIdle = true
        while true {
            var worker = try workers.take(mayBeIdle: mayBeIdle)
            let isNew = worker.isNew
            let answer: [UInt8]
            do {
                answer = try ask(&worker, request)
            } catch {
                switch error {
                case .stopped(let reason): throw reason
                case .ended(let reason):
                    // What earlier programs and inputs have done to it, or somebody else, is not this one's fault.
                    if isNew { throw reason }
                    mayBeIdle = false
                    continue
                }
            }
            workers.putBack(worker)
            if let error = JQFrame.error(in: answer) { throw error }
            return answer
        }
    }

    private func ask(
        _ worker: inout JQWorkerProcess, _ request: [UInt8]?
    ) throws(JQWorkerProcess.Failure) -> [UInt8] {
        if !worker.programs.contains(number) {
            let answer = try worker.compile(number, text)
            if JQFrame.error(in: answer) != nil { return answer }
        }
        guard let request else { return [] }
        return try worker.answer(to: request, milliseconds: limits.milliseconds)
    }
}
