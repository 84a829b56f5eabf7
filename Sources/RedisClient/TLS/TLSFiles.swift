internal import Glibc
internal import NIOCore
internal import NIOSSL

/// Reads the files that TLS needs. Blocks.
struct TLSFiles {
    private static let maximumFileBytes = 16 << 20
    /// Debian and its kin, then Fedora and its kin.
    private static let systemRoots = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    ]

    private let settings: RedisTLS

    init(_ settings: RedisTLS) {
        self.settings = settings
    }

    /// - Throws: `connectionFailed`.
    func context() throws(RedisError) -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        // The peer's farewell is not waited for: replies say themselves where they end.
        configuration.shutdownTimeout = .zero
        configuration.certificateVerification =
            switch settings.verification {
            case .full: .fullVerification
            case .ca: .noHostnameVerification
            case .none: .none
            }
        if let path = settings.rootsPath {
            configuration.trustRoots = .certificates(try certificates(path))
        } else if let bundle = TLSFiles.systemRoots.first(where: { access($0, R_OK) == 0 }) {
            // The default looks into a folder, too, while it shakes hands: on the event loop.
            configuration.trustRoots = .file(bundle)
        }
        if let identity = settings.identity {
            configuration.certificateChain = try certificates(identity.certificatePath).map {
                .certificate($0)
            }
            configuration.privateKey = .privateKey(try key(identity.keyPath))
        }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            let path = settings.identity?.keyPath ?? ""
            throw unusable(path, "it is not the key of the certificate")
        } catch {
            let roots = settings.rootsPath == nil ? " with the system's roots ('ca' names others)" : ""
            throw failure("cannot prepare TLS\(roots): \(TLSFailure.words(for: error))")
        }
    }

    private func certificates(_ path: String) throws(RedisError) -> [NIOSSLCertificate] {
        let bytes = try read(path)
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            throw unusable(path, "no certificates in PEM")
        }
        return certificates
    }

    private func key(_ path: String) throws(RedisError) -> NIOSSLPrivateKey {
        let bytes = try read(path)
        var isEncrypted = false
        // Without this, the terminal would be asked.
        let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) { (give: ([UInt8]) -> Void) in
            isEncrypted = true
            give([])
        }
        guard let key, !isEncrypted else {
            throw unusable(path, isEncrypted ? "the private key is encrypted" : "no private key in PEM")
        }
        return key
    }

    /// - Throws: for what is no regular file too: a pipe might never end.
    private func read(_ path: String) throws(RedisError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw unusable(path, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw unusable(path, String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unusable(path, "it is no regular file") }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count <= TLSFiles.maximumFileBytes {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw unusable(path, String(cString: strerror(errno))) }
            bytes += chunk.prefix(count)
        }
        throw unusable(path, "it has more than \(TLSFiles.maximumFileBytes) bytes")
    }

    private func unusable(_ path: String, _ why: String) -> RedisError {
        failure("cannot use the file '\(path)' for TLS: \(why)")
    }

    private func failure(_ message: String) -> RedisError {
        RedisError(code: .connectionFailed, message: message)
    }
}
