import Foundation
import Glibc
import Synchronization

/// A child process with its output in a file.
///
/// The child dies with the test process, however that ends, where util-linux's `setpriv` is installed.
public final class ServerProcess: Sendable {
    private let pid: pid_t
    private let state: ExitState

    public var processIdentifier: Int32 { pid }

    public var isRunning: Bool { state.status == nil }

    /// - Parameters:
    ///   - executable: a path, or a name that is looked up in `PATH`.
    ///   - environment: the whole environment of the child; `nil` is ours.
    ///   - directory: working directory; `nil` is ours.
    ///   - logFile: standard output and standard error are appended to it.
    /// - Throws: `TestServerError` where the program is missing or cannot be started.
    public init(
        executable: String, arguments: [String], environment: [String: String]? = nil,
        directory: String? = nil,
        logFile: String
    ) throws {
        var words = [try ServerProcess.find(executable)] + arguments
        // Both replace themselves by the program, so that the process id is the program's.
        if let directory { words = [try ServerProcess.find("env"), "--chdir=\(directory)"] + words }
        if let setpriv = try? ServerProcess.find("setpriv") {
            words = [setpriv, "--pdeathsig", "KILL"] + words
        }
        let command = SpawnCommand(
            words: words, environment: environment ?? ProcessInfo.processInfo.environment, output: logFile)
        let state = ExitState()
        let started = DispatchSemaphore(value: 0)
        let result = Mutex<Result<pid_t, TestServerError>?>(nil)
        // The kernel ties "die with your parent" to the thread that forked, so that thread has to stay.
        let thread = Thread {
            let outcome = Result { () throws(TestServerError) in try command.spawn() }
            result.withLock { $0 = outcome }
            started.signal()
            if case .success(let pid) = outcome { state.awaitExit(of: pid) }
        }
        thread.name = "wait for \(executable)"
        thread.start()
        started.wait()
        guard let outcome = result.withLock({ $0 }) else {
            throw TestServerError("\(executable) was not started")
        }
        pid = try outcome.get()
        self.state = state
    }

    deinit {
        kill()
    }

    /// SIGTERM, and SIGKILL if the process has not ended within the timeout. Returns when it has ended.
    public func terminate(timeout: Duration = .seconds(5)) async {
        send(SIGTERM)
        send(SIGCONT)
        if (try? await waitForExit(timeout: timeout)) != nil { return }
        kill()
        _ = try? await waitForExit(timeout: .seconds(5))
    }

    /// SIGKILL. Does not wait for the end.
    public func kill() {
        send(SIGKILL)
    }

    /// SIGSTOP: connections stay open, nobody answers.
    public func suspend() {
        send(SIGSTOP)
    }

    /// SIGCONT.
    public func resume() {
        send(SIGCONT)
    }

    /// The exit status; 128 + n for a process that signal n ended.
    ///
    /// - Throws: `TestServerError` after the timeout.
    public func waitForExit(timeout: Duration) async throws -> Int32 {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let status = state.status { return status }
            guard ContinuousClock.now < deadline else {
                throw TestServerError("process \(pid) did not end within \(timeout)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// The same, holding the thread meanwhile: for programs that end at once.
    public func waitBlocking(timeout: Duration) throws -> Int32 {
        let deadline = ContinuousClock.now + timeout
        while true {
            if let status = state.status { return status }
            guard ContinuousClock.now < deadline else {
                throw TestServerError("process \(pid) did not end within \(timeout)")
            }
            usleep(1_000)
        }
    }

    private func send(_ signal: Int32) {
        state.ifRunning { _ = Glibc.kill(pid, signal) }
    }

    /// The path of a program.
    ///
    /// - Throws: `TestServerError` saying what to install. A test that needs the program fails with it.
    static func find(_ name: String) throws(TestServerError) -> String {
        if name.contains("/") {
            if access(name, X_OK) == 0 { return name }
            throw TestServerError("\(name) is not an executable program")
        }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for directory in path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"] {
            let candidate = "\(directory)/\(name)"
            if access(candidate, X_OK) == 0 { return candidate }
        }
        throw TestServerError("the program '\(name)' is not installed (looked in PATH); the tests need it")
    }
}

/// How a process ended. A process id is only signalled while it is known not to be reaped.
private final class ExitState: Sendable {
    private let exit = Mutex<Int32?>(nil)

    var status: Int32? { exit.withLock { $0 } }

    func ifRunning(_ body: () -> Void) {
        exit.withLock { if $0 == nil { body() } }
    }

    /// Blocks until the process has ended, and reaps it.
    func awaitExit(of pid: pid_t) {
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) == -1 && errno == EINTR {}
        exit.withLock { exit in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
            let signal = status & 0x7f
            exit = signal == 0 ? (status >> 8) & 0xff : 128 + signal
        }
    }
}

/// `posix_spawn` with what it needs.
private struct SpawnCommand: Sendable {
    let words: [String]
    let environment: [String: String]
    let output: String

    /// Sockets of this process must not live on in a child: their peers would never see them closed.
    private static func keepDescriptors() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        }
    }

    func spawn() throws(TestServerError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        SpawnCommand.keepDescriptors()
        // Ignored and blocked signals are inherited; a server should start with none.
        var all = sigset_t()
        var none = sigset_t()
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, words[0], &actions, &attributes, &argv, &envp)
        guard code == 0 else {
            throw TestServerError("\(words.joined(separator: " ")): \(String(cString: strerror(code)))")
        }
        return pid
    }
}
