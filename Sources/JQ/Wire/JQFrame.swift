/// What goes over the socket: 32 bits (little-endian, like all integers) with the length of the rest, and the rest.
///
/// A request is its kind, the number of a program, and: for `compile` its text; for `run` how many milliseconds it may take
/// and how many outputs it may have, and the input; for `forget` nothing. The answer is 0 and the outputs, or a
/// `JQError.Code` and the message.
enum JQFrame {
    enum Kind: UInt8 {
        case compile, run, forget
    }

    static let lengthBytes = 4
    /// Length, kind and program.
    static let requestHeader = 9
    /// The limits, too.
    static let runHeader = 17
    /// Length and 0 or code.
    static let answerHeader = 5
    /// Room for what 16 MiB of JSON, the most that is decompressed, become, and for all that the limits let out.
    static let maximumBytes = 128 << 20

    static func request(_ kind: Kind, program: UInt32, text: String = "") -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: requestHeader)
        bytes.append(contentsOf: text.utf8)
        fill(&bytes, kind, program: program)
        return bytes
    }

    static func run(_ input: consuming JQEncoder, program: UInt32, _ limits: JQProgram.Limits) -> [UInt8] {
        fill(&input.bytes, .run, program: program)
        store(UInt32(clamping: limits.milliseconds), in: &input.bytes, at: requestHeader)
        store(UInt32(clamping: limits.outputs), in: &input.bytes, at: requestHeader + 4)
        return input.bytes
    }

    private static func fill(_ bytes: inout [UInt8], _ kind: Kind, program: UInt32) {
        store(UInt32(clamping: bytes.count - lengthBytes), in: &bytes, at: 0)
        bytes[lengthBytes] = kind.rawValue
        store(program, in: &bytes, at: lengthBytes + 1)
    }

    static func store(_ integer: UInt32, in bytes: inout [UInt8], at offset: Int) {
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: integer.littleEndian, toByteOffset: offset, as: UInt32.self)
        }
    }

    /// The caller has seen to it that the bytes are there.
    static func load(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        UInt32(
            littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self) })
    }

    /// What an answer says went wrong.
    static func error(in answer: [UInt8]) -> JQError? {
        guard answer.count >= answerHeader, answer[lengthBytes] != 0 else { return nil }
        guard let code = JQError.Code(rawValue: answer[lengthBytes]) else { return JQDecoder.nonsense }
        return JQError(code, String(decoding: answer[answerHeader...], as: UTF8.self))
    }
}
