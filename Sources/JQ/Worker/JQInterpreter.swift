import CJQ
import Glibc

/// One of libjq's interpreters with a program in it. Lives in a worker only.
final class JQInterpreter {
    private let state: OpaquePointer

    init(_ text: String) throws(JQError) {
        guard let state = jq_init() else { throw JQError(.failed, "out of memory for jq") }
        self.state = state
        // Without one jq 1.6 calls whatever the memory held before.
        jq_set_nomem_handler(state, { _ in _exit(JQWorker.outOfMemory) }, nil)
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

    /// Appends the outputs to an answer. One that was left in the middle may be run again.
    ///
    /// - Parameter input: is taken over.
    func run(_ input: jv, outputs limit: Int, into answer: inout JQEncoder) throws(JQError) {
        jq_start(state, input, 0)
        var outputs = 0
        var budget = JQProgram.Limits.values
        while true {
            let output = jq_next(state)
            guard jv_is_valid(jv_copy(output)) != 0 else { return try JQInterpreter.end(output) }
            outputs += 1
            guard outputs <= limit else {
                jv_free(output)
                throw JQError(.limit, "jq gives more than \(limit) outputs")
            }
            try answer.append(output, &budget)
        }
    }

    private static func end(_ last: jv) throws(JQError) {
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

    /// What jq says while it compiles.
    private final class Messages {
        private(set) var lines: [String] = []

        func add(_ message: jv) {
            let formatted = jq_format_error(message)
            defer { jv_free(formatted) }
            if jv_get_kind(formatted) == JV_KIND_STRING { lines.append(JQInterpreter.text(formatted)) }
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
