internal import CCrypto
internal import NIOCore

/// What servers of a quorum that has `quorum.auth.enableSasl` prove to each other, here with DIGEST-MD5: a login of
/// `QuorumServer` in the servers' JAAS file.
public struct QuorumCredentials: Sendable, Hashable {
    public var name: String
    public var password: String

    public init(name: String, password: String) {
        self.name = name
        self.password = password
    }
}

/// The talk before the handshake: packets of `long magic, int status, buffer token`, in them SASL's DIGEST-MD5 (RFC 2831).
/// Both sides prove that they know the password.
struct QuorumAuthentication {
    private static let magic: Int64 = 0x5f24_3501_3501_edcc
    private static let uri = "zookeeper-quorum/zk-quorum-sasl-md5"
    /// A challenge has a hundred or two.
    private static let maximumTokenBytes = 64 << 10

    private enum Status {
        static let goesOn: Int32 = 0
        static let success: Int32 = 1
        static let failure: Int32 = -1
    }

    enum Step: Equatable {
        /// The packet has not arrived whole.
        case incomplete
        case answer(ByteBuffer)
        /// Both sides are content.
        case accepted
    }

    struct Failure: Error { let reason: String }

    private let credentials: QuorumCredentials
    private let clientNonce: String
    private let uri: String
    /// What the server has to say at the end; known once we have answered.
    private var proof: String?

    /// - Parameters:
    ///   - clientNonce: never the same twice.
    ///   - uri: the service that is meant.
    init(
        _ credentials: QuorumCredentials, clientNonce: String = QuorumAuthentication.randomNonce(),
        uri: String = QuorumAuthentication.uri
    ) {
        self.credentials = credentials
        self.clientNonce = clientNonce
        self.uri = uri
    }

    static func randomNonce() -> String {
        var random = SystemRandomNumberGenerator()
        return "\(String(random.next(), radix: 36))\(String(random.next(), radix: 36))"
    }

    /// The first packet.
    var start: ByteBuffer { QuorumAuthentication.packet([]) }

    /// Takes the next packet off the stream.
    mutating func next(_ buffer: inout ByteBuffer) throws(Failure) -> Step {
        var reader = buffer
        guard let (magic, status, length) = reader.readMultipleIntegers(as: (Int64, Int32, Int32).self) else {
            return .incomplete
        }
        guard magic == QuorumAuthentication.magic else {
            throw Failure(reason: "the server does not speak SASL; is quorum.auth.enableSasl set there?")
        }
        guard length >= -1, length <= QuorumAuthentication.maximumTokenBytes else {
            throw Failure(reason: "a token of \(length) bytes")
        }
        guard let token = reader.readBytes(length: max(Int(length), 0)) else { return .incomplete }
        buffer = reader
        switch status {
        case Status.goesOn:
            return .answer(QuorumAuthentication.packet(try answer(String(decoding: token, as: UTF8.self))))
        case Status.success:
            guard let proof, String(decoding: token, as: UTF8.self) == "rspauth=\(proof)" else {
                throw Failure(reason: "the server does not prove that it knows the password")
            }
            return .accepted
        case Status.failure:
            throw Failure(reason: "the server does not accept '\(credentials.name)' and its password")
        default: throw Failure(reason: "a status of \(status)")
        }
    }

    private static func packet(_ token: [UInt8]) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(magic, Status.goesOn)
        buffer.put(token)
        return buffer
    }

    // MARK: DIGEST-MD5

    private mutating func answer(_ challenge: String) throws(Failure) -> [UInt8] {
        let directives = QuorumAuthentication.directives(challenge)
        guard proof == nil, let nonce = directives["nonce"] else {
            throw Failure(reason: "a second challenge")
        }
        let offered = (directives["qop"] ?? "auth").split(separator: ",").map { $0.filter { $0 != " " } }
        guard offered.contains("auth") else { throw Failure(reason: "the server wants qop \(offered)") }
        let realm = directives["realm"] ?? ""
        let secret = QuorumAuthentication.md5(
            [credentials.name, realm, credentials.password].map(QuorumAuthentication.hashed).joined(
                separator: [UInt8(ascii: ":")]))
        let session = QuorumAuthentication.hex(
            QuorumAuthentication.md5(secret + Array(":\(nonce):\(clientNonce)".utf8)))
        func response(_ method: String) -> String {
            let target = QuorumAuthentication.hex(QuorumAuthentication.md5("\(method):\(uri)".utf8))
            let text = "\(session):\(nonce):00000001:\(clientNonce):auth:\(target)"
            return QuorumAuthentication.hex(QuorumAuthentication.md5(text.utf8))
        }
        proof = response("")
        let quoted = [
            ("username", credentials.name), ("realm", realm), ("nonce", nonce), ("cnonce", clientNonce),
            ("digest-uri", uri),
        ].map { "\($0.0)=\"\($0.1.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\"" }
        let text =
            "charset=utf-8,\(quoted.joined(separator: ",")),nc=00000001,qop=auth,response=\(response("AUTHENTICATE"))"
        return Array(text.utf8)
    }

    /// As ISO 8859-1 where that can say it, as the RFC wants it.
    private static func hashed(_ text: String) -> [UInt8] {
        let narrow = text.unicodeScalars.compactMap { UInt8(exactly: $0.value) }
        return narrow.count == text.unicodeScalars.count ? narrow : Array(text.utf8)
    }

    /// `name=value` and `name="value"`, separated by commas; the first of each name.
    private static func directives(_ text: String) -> [String: String] {
        var found: [String: String] = [:]
        var rest = text[...]
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals].filter { $0 != " " && $0 != "," }.lowercased()
            rest = rest[rest.index(after: equals)...]
            var value = ""
            if rest.first == "\"" {
                rest.removeFirst()
                while let character = rest.popFirst(), character != "\"" {
                    value.append(character == "\\" ? rest.popFirst() ?? "\\" : character)
                }
            } else {
                value = String(rest.prefix { $0 != "," })
            }
            rest = rest[(rest.firstIndex(of: ",") ?? rest.endIndex)...]
            if found[name] == nil { found[name] = value }
        }
        return found
    }

    private static func md5(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        let input = Array(bytes)
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        EVP_Digest(input, input.count, &digest, &count, EVP_md5(), nil)
        return Array(digest.prefix(Int(count)))
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
