internal import Glibc
internal import NIOSSL

extension ObserverConfiguration {
    /// Sets `tls` from files in PEM, which are read now. Blocks.
    ///
    /// - Parameter rootsPath: `nil`: the roots that the system trusts.
    /// - Throws: `badArguments` for a file that cannot be used; the message names it.
    public mutating func useTLS(
        rootsPath: String?, certificatePath: String, keyPath: String
    ) throws(ZooKeeperError) {
        var settings = TLSConfiguration.makeClientConfiguration()
        settings.minimumTLSVersion = .tlsv12
        if let rootsPath {
            settings.trustRoots = .certificates(try ObserverConfiguration.certificates(rootsPath))
        }
        settings.certificateChain = try ObserverConfiguration.certificates(certificatePath).map {
            .certificate($0)
        }
        settings.privateKey = .privateKey(try ObserverConfiguration.key(keyPath))
        do {
            _ = try NIOSSLContext(configuration: settings)
        } catch {
            throw ObserverConfiguration.unusable(keyPath, "it is not the key of \(certificatePath)")
        }
        tls = settings
    }

    private static func certificates(_ path: String) throws(ZooKeeperError) -> [NIOSSLCertificate] {
        try check(path)
        guard let certificates = try? NIOSSLCertificate.fromPEMFile(path), !certificates.isEmpty else {
            throw unusable(path, "no certificates in PEM")
        }
        return certificates
    }

    private static func key(_ path: String) throws(ZooKeeperError) -> NIOSSLPrivateKey {
        try check(path)
        var isEncrypted = false
        // Without this, the terminal would be asked.
        let key = try? NIOSSLPrivateKey(file: path, format: .pem) { (give: ([UInt8]) -> Void) in
            isEncrypted = true
            give([])
        }
        guard let key, !isEncrypted else {
            throw unusable(path, isEncrypted ? "the private key is encrypted" : "no private key in PEM")
        }
        return key
    }

    /// A pipe might never end.
    private static func check(_ path: String) throws(ZooKeeperError) {
        var status = stat()
        guard stat(path, &status) == 0, access(path, R_OK) == 0 else {
            throw unusable(path, String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw unusable(path, "it is no regular file") }
    }

    private static func unusable(_ path: String, _ why: String) -> ZooKeeperError {
        ZooKeeperError(.badArguments, message: "cannot use the file '\(path)' for TLS: \(why)")
    }
}
