public import CJQ
import Synchronization

/// A jq program, compiled once and run for one input after the other, by any thread.
///
/// A run that does not end in time is stopped between two of jq's instructions. What cannot be stopped is one
/// instruction that takes long by itself: a regular expression that backtracks, `"x" * 1000000000`, sorting what is
/// large; nor is jq's memory bounded but by the time that it has. Programs are part of the definition: whoever writes
/// one is trusted that far.
public final class JQProgram: Sendable {
    public struct Limits: Sendable {
        /// How long one input may take.
        public var milliseconds = 1000
        /// How many outputs one input may have.
        public var outputs = 1000

        public init() {}
    }

    public let text: String
    private let limits: Limits
    /// Compiled and not in use: libjq's states belong to one thread at a time.
    private let idle: Mutex<[JQState]>

    /// Throws `JQError` with jq's own words for a text that is no program.
    public init(_ text: String, limits: Limits = Limits()) throws(JQError) {
        self.text = text
        self.limits = limits
        let state = try JQState(text)
        idle = Mutex([state])
    }

    /// Runs the program and hands each output to `body`, which owns it as jq's functions do.
    ///
    /// - Parameter input: is taken over.
    /// - Throws: `JQError`, or what `body` throws; what it was given before counts for nothing then.
    public func run(_ input: jv, _ body: (jv) throws(JQError) -> Void) throws(JQError) {
        let state: JQState
        if let ready = idle.withLock({ $0.popLast() }) {
            state = ready
        } else {
            do {
                state = try JQState(text)
            } catch {
                jv_free(input)
                throw error
            }
        }
        // One that was stopped is thrown away: it cannot be asked to go on.
        defer { if !state.isHalted { idle.withLock { $0.append(state) } } }
        try state.run(input, limits: limits, body)
    }
}

/// One of libjq's interpreters.
///
/// Unchecked, since the compiler cannot see that no two threads meet in it (checked against src/execute.c of jq 1.6):
/// - `JQProgram.run` alone calls `run`, for a state that it has taken out of the mutex' list or made itself: one thread at a
///   time owns it. `deinit` is the last owner's.
/// - The watchdog calls `stop`, and only between `watch` and `release`, under the lock that `release` takes, too. In
///   between the owner calls `jq_next` and `jq_halted`, which read of what `jq_halt` writes the word `halted` alone: 0, and
///   the run goes on, or 1, and it ends. `jq_next` looks at it before each instruction. `jq_start` and `jq_teardown`, which
///   write it, are called outside of that time.
/// - `jq_halt` insists on a state that is not halted; but for the watchdog nothing halts one, since the prelude takes
///   `halt` away from programs.
///
/// None of it depends on the program or on data.
final class JQState: @unchecked Sendable {
    private let state: OpaquePointer

    init(_ text: String) throws(JQError) {
        guard let state = jq_init() else { throw JQError(.failed, "out of memory for jq") }
        self.state = state
        let messages = Messages()
        let pointer = Unmanaged.passUnretained(messages).toOpaque()
        jq_set_error_cb(
            state,
            { pointer, message in
                guard let pointer else { return jv_free(message) }
                Unmanaged<Messages>.fromOpaque(pointer).takeUnretainedValue().add(message)
            }, pointer)
        let isCompiled = withExtendedLifetime(messages) { jq_compile(state, JQPrelude.text + text) != 0 }
        jq_set_error_cb(state, { _, message in jv_free(message) }, nil)
        // deinit tears the interpreter down, here too.
        if !isCompiled { throw JQError(.syntax, messages.first) }
    }

    deinit {
        var state: OpaquePointer? = state
        jq_teardown(&state)
    }

    func run(_ input: jv, limits: JQProgram.Limits, _ body: (jv) throws(JQError) -> Void) throws(JQError) {
        jq_start(state, input, 0)
        JQWatchdog.shared.watch(self, milliseconds: limits.milliseconds)
        defer { JQWatchdog.shared.release(self) }
        var outputs = 0
        while true {
            let output = jq_next(state)
            guard jv_is_valid(jv_copy(output)) != 0 else {
                return try JQState.end(output, isHalted: isHalted, limits)
            }
            outputs += 1
            guard outputs <= limits.outputs else {
                jv_free(output)
                throw JQError(.limit, "jq gives more than \(limits.outputs) outputs")
            }
            try body(output)
        }
    }

    private static func end(_ last: jv, isHalted: Bool, _ limits: JQProgram.Limits) throws(JQError) {
        if isHalted {
            jv_free(last)
            throw JQError(.limit, "jq has taken more than \(limits.milliseconds)ms")
        }
        guard jv_invalid_has_msg(jv_copy(last)) != 0 else { return jv_free(last) }
        let message = jv_invalid_get_msg(last)
        defer { jv_free(message) }
        guard jv_get_kind(message) == JV_KIND_STRING else { throw JQError(.failed, "jq: an error") }
        throw JQError(.failed, "jq: " + withoutData(text(message)))
    }

    /// jq quotes what it could not do something with, behind a bracket or in quotation marks.
    private static func withoutData(_ message: String) -> String {
        let known = message.prefix { $0 != "(" && $0 != "\"" && $0 != "'" && $0 != "\n" }
        let isCut = known.endIndex < message.endIndex
        return String(known.prefix(200)) + (isCut || known.count > 200 ? "…" : "")
    }

    fileprivate static func text(_ string: jv) -> String {
        let count = Int(jv_string_length_bytes(jv_copy(string)))
        guard let bytes = jv_string_value(string) else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    var isHalted: Bool { jq_halted(state) != 0 }

    /// Called by the watchdog alone, while a run is on.
    func stop() {
        if !isHalted { jq_halt(state, jv_invalid(), jv_null()) }
    }

    /// What jq says while it compiles.
    private final class Messages {
        private(set) var lines: [String] = []

        func add(_ message: jv) {
            let formatted = jq_format_error(message)
            defer { jv_free(formatted) }
            if jv_get_kind(formatted) == JV_KIND_STRING { lines.append(JQState.text(formatted)) }
        }

        /// Without what is only for users of jq's own command line.
        var first: String {
            let line = lines.first ?? "not a jq program"
            let text = line.split(separator: "\n").first.map(String.init) ?? line
            var message = text.hasPrefix("jq: error: ") ? String(text.dropFirst("jq: error: ".count)) : text
            for noise in [" (Unix shell quoting issues?)", " at <top-level>"] {
                message = message.replacing(noise, with: "")
            }
            // The program's line would follow.
            return message.hasSuffix(":") ? String(message.dropLast()) : message
        }
    }
}
