import Glibc
import Synchronization

/// The process of its own in which jq runs, since jq 1.6 has errors by which data can end the process or hold it up, and
/// no bound of its memory. What it may do to others: use `memoryBytes` and one core, for as long as a change may take.
public enum JQWorker {
    /// What the program is started with as a worker: it then has to call `serve` and end with its result.
    public static let argument = "jq-worker"

    /// The program that is started; `nil`: the `millrace` beside this one. A program that can be a worker names itself, by
    /// `/proc/self/exe`, which stays the same program when its file is replaced.
    public static var executable: String? {
        get { named.withLock { $0 } }
        set { named.withLock { $0 = newValue } }
    }

    private static let named = Mutex<String?>(nil)

    /// More than the worker has at its start.
    static let memoryBytes = 1 << 30
    /// Its exit code where that does not suffice.
    static let outOfMemory: Int32 = 71
    /// How much later than its parent, which may be gone, it ends itself.
    private static let spareSeconds = 5
    static let compileSeconds = 30

    /// Answers until the other end of standard input, a socket, is closed. The result is the exit code.
    ///
    /// To be called on the main thread before anything else: signals that end the parent are blocked there.
    public static func serve() -> Int32 {
        var type: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0 else {
            let text = "millrace: jq-worker is started by millrace itself, for definitions with jq\n"
            _ = write(STDERR_FILENO, text, text.utf8.count)
            return EX_USAGE
        }
        limitItself()
        let socket = JQSocket(descriptor: STDIN_FILENO)
        var programs: [UInt32: JQInterpreter] = [:]
        while let request = try? socket.receive(by: nil) {
            let answer = answer(request, &programs)
            guard let answer, (try? socket.send(answer, by: nil)) != nil else { break }
        }
        return 0
    }

    private static func limitItself() {
        // What others have opened without closing it at exec.
        closefrom(STDERR_FILENO + 1)
        set(RLIMIT_DATA, dataBytes() + memoryBytes)
        set(RLIMIT_CORE, 0)
        // Where the machine or the container has no memory left, the kernel ends this process and not its parent.
        let file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)
        if file >= 0 {
            _ = write(file, "1000", 4)
            close(file)
        }
    }

    private static func set(_ resource: __rlimit_resource, _ bytes: Int) {
        var limit = rlimit(rlim_cur: rlim_t(bytes), rlim_max: rlim_t(bytes))
        setrlimit(__rlimit_resource_t(resource.rawValue), &limit)
    }

    /// What counts for RLIMIT_DATA, as the process begins with it: with a sanitizer that is a lot.
    private static func dataBytes() -> Int {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 256)
        let count = max(read(file, &text, text.count), 0)
        let words = String(decoding: text[..<count], as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return (words.count > 5 ? Int(words[5]) ?? 0 : 0) * sysconf(Int32(_SC_PAGESIZE))
    }

    /// `nil`: the request makes no sense.
    private static func answer(_ request: [UInt8], _ programs: inout [UInt32: JQInterpreter]) -> [UInt8]? {
        guard request.count >= JQFrame.requestHeader,
            let kind = JQFrame.Kind(rawValue: request[JQFrame.lengthBytes])
        else { return nil }
        let program = JQFrame.load(request, at: JQFrame.lengthBytes + 1)
        var answer = JQEncoder(header: JQFrame.answerHeader)
        // Its parent stops it in time; this is for when that has ended.
        defer { alarm(0) }
        do {
            switch kind {
            case .forget: programs[program] = nil
            case .compile:
                alarm(UInt32(compileSeconds + spareSeconds))
                let text = String(decoding: request[JQFrame.requestHeader...], as: UTF8.self)
                programs[program] = try JQInterpreter(text)
            case .run:
                guard request.count > JQFrame.runHeader, let interpreter = programs[program] else {
                    return nil
                }
                let milliseconds = Int(JQFrame.load(request, at: JQFrame.requestHeader))
                alarm(UInt32(milliseconds / 1000 + spareSeconds))
                var input = JQDecoder(
                    request, from: JQFrame.runHeader, values: .max, depth: JQProgram.Limits.inputDepth)
                let outputs = Int(JQFrame.load(request, at: JQFrame.requestHeader + 4))
                try interpreter.run(try input.jqValue(), outputs: outputs, into: &answer)
            }
        } catch {
            answer = JQEncoder(header: JQFrame.answerHeader)
            answer.bytes[JQFrame.lengthBytes] = error.code.rawValue
            answer.bytes.append(contentsOf: error.message.utf8)
        }
        guard answer.bytes.count <= JQFrame.maximumBytes else { return nil }
        JQFrame.store(UInt32(answer.bytes.count - JQFrame.lengthBytes), in: &answer.bytes, at: 0)
        return answer.bytes
    }
}
