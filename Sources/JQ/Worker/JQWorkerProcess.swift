import Glibc

/// A worker as its parent sees it. Whoever has taken it out of `JQWorkers` owns it, until it is put back or has thrown:
/// then the process is gone.
struct JQWorkerProcess: Sendable {
    enum Failure: Error {
        /// It was stopped, since it took too long.
        case stopped(JQError)
        /// It has ended by itself.
        case ended(JQError)
    }

    let identifier: pid_t
    private let socket: JQSocket
    /// The programs that it has compiled.
    private(set) var programs: Set<UInt32> = []
    /// Nothing was asked of it yet.
    private(set) var isNew = true

    /// What `errno` was when none could be started.
    struct StartFailure: Error {
        var number: Int32
    }

    /// - Parameter executable: a path. It is started with `JQWorker.argument`.
    init(executable: String) throws(StartFailure) {
        guard let (own, other) = JQSocket.pair() else { throw StartFailure(number: errno) }
        defer { other.close() }
        var pid: pid_t = 0
        let code = JQWorkerProcess.spawn(executable, standardInput: other.descriptor, &pid)
        guard code == 0 else {
            own.close()
            throw StartFailure(number: code)
        }
        identifier = pid
        socket = own
    }

    mutating func compile(_ program: UInt32, _ text: String) throws(Failure) -> [UInt8] {
        let request = JQFrame.request(.compile, program: program, text: text)
        let answer = try answer(to: request, milliseconds: JQWorker.compileSeconds * 1000)
        if JQFrame.error(in: answer) == nil { programs.insert(program) }
        return answer
    }

    mutating func forget(_ program: UInt32) throws(Failure) {
        programs.remove(program)
        _ = try answer(
            to: JQFrame.request(.forget, program: program), milliseconds: JQWorker.compileSeconds * 1000)
    }

    mutating func answer(to request: [UInt8], milliseconds: Int) throws(Failure) -> [UInt8] {
        isNew = false
        let deadline = ContinuousClock.now + .milliseconds(milliseconds)
        do {
            try socket.send(request, by: deadline)
            return try socket.receive(by: deadline)
        } catch {
            let status = end()
            switch error {
            case .late: throw .stopped(JQError(.limit, "jq has taken more than \(milliseconds)ms"))
            case .closed: throw .ended(JQWorkerProcess.reason(status))
            }
        }
    }

    /// Kills and reaps it. The result is what `waitpid` says: where it has ended already, how.
    @discardableResult
    func end() -> Int32 {
        socket.close()
        kill(identifier, SIGKILL)
        var status: Int32 = 0
        // Returns at once: nothing holds up SIGKILL.
        while waitpid(identifier, &status, 0) == -1, errno == EINTR {}
        return status
    }

    private static func reason(_ status: Int32) -> JQError {
        let signal = status & 0x7f
        if signal != 0 {
            let name = strsignal(signal).map { String(cString: $0) } ?? "unknown"
            return JQError(.failed, "jq has crashed (signal \(signal), \(name))")
        }
        let code = (status >> 8) & 0xff
        if code == JQWorker.outOfMemory {
            return JQError(.limit, "jq needs more than \(JQWorker.memoryBytes >> 20) MiB of memory")
        }
        return JQError(.failed, "jq's worker has ended with exit code \(code)")
    }

    /// With the socket as standard input, next to no environment, and in a process group of its own:
    /// what a terminal or a supervisor sends to all is for the parent, which may still have changes to deliver.
    private static func spawn(_ executable: String, standardInput: Int32, _ pid: inout pid_t) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, standardInput, STDIN_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        var all = sigset_t()
        var blocked = sigset_t()
        sigfillset(&all)
        sigemptyset(&blocked)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE] { sigaddset(&blocked, signal) }
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &blocked)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
        let arguments = ["millrace", JQWorker.argument]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment().map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        return posix_spawn(&pid, executable, &actions, &attributes, &argv, &envp)
    }

    /// Of the variables only where libraries lie and what `localtime` needs; a crash is told by its signal.
    private static func environment() -> [String] {
        var variables = ["SWIFT_BACKTRACE=enable=no"]
        let kept: [String] = ["LD_LIBRARY_PATH", "TZ", "TZDIR"]
        for name in kept {
            if let value = getenv(name) { variables.append("\(name)=\(String(cString: value))") }
        }
        return variables
    }
}
