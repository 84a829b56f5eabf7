import Glibc
import Synchronization

/// The workers of this process: as many as threads have run jq at once, which for pipelines is one for each sink.
final class JQWorkers: Sendable {
    static let shared = JQWorkers()

    private struct State {
        /// The one that was used last is taken first.
        var idle: [JQWorkerProcess] = []
        var programs: Set<UInt32> = []
        var lastProgram: UInt32 = 0
    }

    private let state = Mutex(State())
    /// Instead of the one that `JQWorker` names.
    private let executable: String?

    init(executable: String? = nil) {
        self.executable = executable
    }

    deinit {
        for worker in state.withLock({ $0.idle }) { worker.end() }
    }

    func addProgram() -> UInt32 {
        state.withLock { state in
            repeat { state.lastProgram &+= 1 } while state.programs.contains(state.lastProgram)
            state.programs.insert(state.lastProgram)
            return state.lastProgram
        }
    }

    func remove(program: UInt32) {
        state.withLock { _ = $0.programs.remove(program) }
    }

    /// An idle worker, or a new one.
    func take(mayBeIdle: Bool) throws(JQError) -> JQWorkerProcess {
        while mayBeIdle, var worker = state.withLock({ $0.idle.popLast() }) {
            // It may know programs that are gone, but not more of them than there are programs.
            let gone = state.withLock { state in
                worker.programs.count > state.programs.count
                    ? worker.programs.subtracting(state.programs) : []
            }
            do throws(JQWorkerProcess.Failure) {
                for program in gone { try worker.forget(program) }
                return worker
            } catch {
                // It is gone; the next.
            }
        }
        return try start()
    }

    func putBack(_ worker: JQWorkerProcess) {
        state.withLock { $0.idle.append(worker) }
    }

    /// For tests to look at.
    var idle: [JQWorkerProcess] { state.withLock { $0.idle } }

    private static let startAttempts = 100
    private static let startPauseMicroseconds: UInt32 = 100_000

    /// Where the machine has no process or memory left it is waited for, 10 s at most: a change that fails for that would be
    /// a dead letter.
    private func start() throws(JQError) -> JQWorkerProcess {
        let path: String
        if let named = executable ?? JQWorker.executable {
            path = named
        } else {
            path = try JQWorkers.besideThisProgram()
        }
        var attempts = 0
        while true {
            do throws(JQWorkerProcess.StartFailure) {
                return try JQWorkerProcess(executable: path)
            } catch {
                attempts += 1
                guard [EAGAIN, ENOMEM].contains(error.number), attempts < JQWorkers.startAttempts else {
                    let reason = String(cString: strerror(error.number))
                    throw JQError(.unavailable, "jq's worker cannot be started: \(path): \(reason)")
                }
                usleep(JQWorkers.startPauseMicroseconds)
            }
        }
    }

    /// For tests and other programs, which are no workers.
    private static func besideThisProgram() throws(JQError) -> String {
        var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = path.withUnsafeMutableBytes { path in
            path.withMemoryRebound(to: CChar.self) { path in
                path.baseAddress.map { readlink("/proc/self/exe", $0, path.count) } ?? -1
            }
        }
        let own = String(decoding: path[..<max(count, 0)], as: UTF8.self)
        guard let slash = own.lastIndex(of: "/") else {
            throw JQError(.unavailable, "jq's worker cannot be started: where this program lies is unknown")
        }
        return own[...slash] + "millrace"
    }
}
