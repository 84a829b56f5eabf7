internal import Glibc
internal import NIOCore
internal import NIOSSL

/// What went wrong with TLS, in words.
enum TLSFailure {
    /// - Parameter certificate: the server's, where it has shown one.
    static func words(for error: any Error, certificate: NIOSSLCertificate? = nil) -> String {
        switch error {
        case let error as NIOSSLError:
            switch error {
            case .handshakeFailed(let reason), .shutdownFailed(let reason):
                words(for: reason, certificate: certificate)
            case .uncleanShutdown: "closed by the server"
            default: "\(error)"
            }
        case let error as BoringSSLError:
            switch error {
            case .sslError(let stack), .unknownError(let stack): words(for: stack, certificate)
            case .zeroReturn, .syscallError: "closed by the server"
            default: "\(error)"
            }
        case let error as NIOSSLExtraError where error == .serverHostnameImpossibleToMatch:
            "a host of such a name cannot be verified; verify=ca does without"
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            wrongHost
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }

    static let wrongHost = "the server's certificate is for another host (verify=full)"

    private static func words(for stack: NIOBoringSSLErrorStack, _ certificate: NIOSSLCertificate?) -> String
    {
        if stack.contains(.eofDuringHandshake) { return "closed by the server" }
        // Errors have no codes to compare, but their texts end in `OPENSSL_internal:REASON at file:line`.
        let reasons = stack.map { error -> String in
            let text = error.description
            guard let start = text.firstRange(of: "OPENSSL_internal:")?.upperBound else { return text }
            let rest = text[start...]
            return String(rest[..<(rest.firstRange(of: " at ")?.lowerBound ?? rest.endIndex)])
        }
        guard let reason = reasons.first else { return "for an unknown reason" }
        switch reason {
        case "CERTIFICATE_VERIFY_FAILED":
            return untrusted(certificate)
        case "WRONG_VERSION_NUMBER", "UNEXPECTED_RECORD", "INVALID_OUTER_RECORD_TYPE":
            return "the server does not speak TLS on this port"
        case "TLSV1_ALERT_CERTIFICATE_REQUIRED":
            return "the server wants a client certificate (cert, key)"
        case "SSLV3_ALERT_HANDSHAKE_FAILURE":
            return "the server refuses; perhaps it wants a client certificate (cert, key)"
        case _ where reason.contains("_ALERT_"):
            let alert = reason.lowercased().split(separator: "_").drop { $0 != "alert" }.dropFirst()
            return "the server refuses: \(alert.joined(separator: " "))"
        default:
            return reason.lowercased().replacing("_", with: " ")
        }
    }

    private static func untrusted(_ certificate: NIOSSLCertificate?) -> String {
        let now = time(nil)
        if let certificate, certificate.notValidAfter < now { return "the server's certificate has expired" }
        if let certificate, certificate.notValidBefore > now {
            return "the server's certificate is not valid yet"
        }
        return "the server's certificate is not trusted: no trusted root stands behind it"
    }
}
