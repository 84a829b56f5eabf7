import Foundation

/// Certificates for tests, made by `openssl` in a directory of their own and signed by one root.
public final class TestAuthority: Sendable {
    /// A certificate and its key, as PEM files.
    public struct Identity: Sendable {
        public let certificatePath: String
        public let keyPath: String
    }

    /// The root's certificate.
    public let rootPath: String
    private let rootKeyPath: String
    private let directory: TemporaryDirectory

    /// A directory for whatever else a test needs, gone with this object.
    public var directoryPath: String { directory.path }

    private static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    /// - Throws: `TestServerError` where `openssl` is not installed or refuses.
    public init() throws {
        directory = try TemporaryDirectory()
        rootPath = "\(directory.path)/root.pem"
        rootKeyPath = "\(directory.path)/root.key"
        // The system's configuration would add extensions of its own.
        let configuration = "[req]\ndistinguished_name=name\n[name]\n"
        try configuration.write(
            toFile: "\(directory.path)/openssl.cnf", atomically: false, encoding: .utf8)
        try openssl(
            ["req", "-config", "\(directory.path)/openssl.cnf", "-x509", "-days", "2"]
                + TestAuthority.newKey
                + [
                    "-keyout", rootKeyPath, "-out", rootPath, "-subj", "/CN=root of tests",
                    "-addext", "basicConstraints=critical,CA:TRUE",
                    "-addext", "keyUsage=critical,keyCertSign",
                ])
    }

    /// A certificate signed by the root.
    ///
    /// - Parameters:
    ///   - file: what its files are called; another one with each call.
    ///   - names: alternative names such as `DNS:localhost`; none for an empty array.
    ///   - days: negative for one that has expired.
    public func issue(
        _ file: String, _ names: [String] = ["DNS:localhost", "IP:127.0.0.1"], days: Int = 2
    ) throws -> Identity {
        let path = "\(directory.path)/\(file)"
        try openssl(
            ["req", "-config", "\(directory.path)/openssl.cnf", "-new"] + TestAuthority.newKey
                + ["-keyout", "\(path).key", "-out", "\(path).csr", "-subj", "/CN=\(file)"])
        let alternatives = names.isEmpty ? "" : "subjectAltName=\(names.joined(separator: ","))\n"
        try "basicConstraints=critical,CA:FALSE\n\(alternatives)".write(
            toFile: "\(path).ext", atomically: false, encoding: .utf8)
        try openssl([
            "x509", "-req", "-in", "\(path).csr", "-CA", rootPath, "-CAkey", rootKeyPath, "-days", "\(days)",
            "-extfile", "\(path).ext", "-out", "\(path).pem",
        ])
        return Identity(certificatePath: "\(path).pem", keyPath: "\(path).key")
    }

    /// The same key, encrypted.
    public func encryptedKey(of identity: Identity) throws -> String {
        let path = "\(identity.keyPath).encrypted"
        try openssl([
            "pkcs8", "-topk8", "-in", identity.keyPath, "-out", path, "-passout", "pass:secret",
        ])
        return path
    }

    /// Lines of redis.conf for a server of this identity.
    public func configuration(for identity: Identity, wantsClientCertificates: Bool = false) -> [String] {
        [
            "tls-cert-file \(identity.certificatePath)", "tls-key-file \(identity.keyPath)",
            "tls-ca-cert-file \(rootPath)", "tls-auth-clients \(wantsClientCertificates ? "yes" : "no")",
        ]
    }

    private func openssl(_ arguments: [String]) throws {
        let log = "\(directory.path)/openssl.log"
        let process = try ServerProcess(executable: "openssl", arguments: arguments, logFile: log)
        let status = try process.waitBlocking(timeout: .seconds(20))
        guard status == 0 else {
            let bytes = FileManager.default.contents(atPath: log) ?? Data()
            throw TestServerError(
                "openssl \(arguments.first ?? ""): status \(status): \(String(decoding: bytes, as: UTF8.self))"
            )
        }
    }
}
