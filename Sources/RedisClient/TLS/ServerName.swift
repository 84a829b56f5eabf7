internal import NIOCore
internal import NIOSSL

/// The name by which a server is asked for and by which its certificate has to call it; there is none where the host
/// is an address.
struct ServerName {
    let text: String

    init?(_ host: String) {
        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
        let name = host.hasSuffix(".") ? String(host.dropLast()) : host
        guard !isAddress, !name.isEmpty else { return nil }
        text = name
    }

    /// Whether the certificate is for this name. One that has no names of this sort at all is left to NIOSSL, which
    /// looks into its subject.
    ///
    /// NIOSSL is content with the address that the name leads to; but whoever can bend names can do so to an
    /// address that he has a certificate for.
    func isNamed(by certificate: NIOSSLCertificate) -> Bool {
        let names = certificate._subjectAlternativeNames()
        return names.isEmpty
            || names.contains { name in
                name.nameType == .dnsName && matches(String(decoding: Array(name.contents), as: UTF8.self))
            }
    }

    /// `*` may stand for the first label.
    func matches(_ pattern: String) -> Bool {
        let pattern = (pattern.hasSuffix(".") ? String(pattern.dropLast()) : pattern).lowercased()
        let name = text.lowercased()
        guard pattern.hasPrefix("*.") else { return pattern == name }
        guard let dot = name.firstIndex(of: "."), dot != name.startIndex else { return false }
        return name[dot...] == pattern.dropFirst()
    }
}
