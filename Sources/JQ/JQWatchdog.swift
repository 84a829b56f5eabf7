import Dispatch
import Foundation
import Synchronization

/// Stops runs of jq that take too long. One thread for the process; it sleeps for as long as nothing runs.
final class JQWatchdog: Sendable {
    static let shared = JQWatchdog()

    private struct State {
        var deadlines: [ObjectIdentifier: (state: JQState, deadline: DispatchTime)] = [:]
        var isAsleep = true
        var idleRounds = 0
    }

    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    /// How much later than asked a run may be stopped.
    private static let interval = 0.02
    private static let idleRoundsBeforeSleep = 100

    private init() {
        let thread = Thread { [self] in guardRuns() }
        thread.name = "millrace.jq"
        thread.start()
    }

    func watch(_ run: JQState, milliseconds: Int) {
        let deadline = DispatchTime.now() + .milliseconds(milliseconds)
        let wasAsleep = state.withLock { state in
            state.deadlines[ObjectIdentifier(run)] = (run, deadline)
            defer { state.isAsleep = false }
            return state.isAsleep
        }
        if wasAsleep { wake.signal() }
    }

    /// Behind it the run is not touched any more.
    func release(_ run: JQState) {
        state.withLock { _ = $0.deadlines.removeValue(forKey: ObjectIdentifier(run)) }
    }

    private func guardRuns() {
        while true {
            let sleeps = state.withLock { state in
                let now = DispatchTime.now()
                for (run, deadline) in state.deadlines.values where deadline <= now { run.stop() }
                state.idleRounds = state.deadlines.isEmpty ? state.idleRounds + 1 : 0
                state.isAsleep = state.idleRounds >= JQWatchdog.idleRoundsBeforeSleep
                return state.isAsleep
            }
            if sleeps { wake.wait() } else { Thread.sleep(forTimeInterval: JQWatchdog.interval) }
        }
    }
}
