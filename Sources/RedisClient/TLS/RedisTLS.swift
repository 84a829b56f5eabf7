/// How a connection is encrypted: whom it trusts, and as whom it comes. TLS 1.2 or 1.3.
///
/// The files are PEM. A client reads them once, before its first connection, and again only where that failed.
public struct RedisTLS: Sendable, Hashable {
    /// What is asked of the server's certificate.
    public enum Verification: String, Sendable {
        /// A trusted root stands behind it, and it is for the host that we connect to: a name by one of its names
        /// (`*` stands for the first label), an address by one of its addresses.
        case full
        /// A trusted root stands behind it. Any other server with such a certificate passes for this one.
        case ca
        /// Nothing. Whoever is on the way can read and change everything; for trying things out.
        case none
    }

    /// Shows a server that wants to know it who we are.
    public struct Identity: Sendable, Hashable {
        /// Our certificate, then those between it and a root, if any.
        public var certificatePath: String
        /// Its private key, which must not be encrypted.
        public var keyPath: String

        public init(certificatePath: String, keyPath: String) {
            self.certificatePath = certificatePath
            self.keyPath = keyPath
        }
    }

    /// Certificates to trust instead of the system's.
    public var rootsPath: String?
    public var identity: Identity?
    public var verification: Verification

    public init(rootsPath: String? = nil, identity: Identity? = nil, verification: Verification = .full) {
        self.rootsPath = rootsPath
        self.identity = identity
        self.verification = verification
    }
}
