internal import Glibc
internal import NIOCore
internal import NIOPosix

/// A name may have several addresses: what the first attempt said is enough.
func connectFailureReason(_ error: any Error) -> String {
    guard let failure = error as? NIOConnectionError else { return "\(error)" }
    if let attempt = failure.connectionErrors.first {
        return (attempt.error as? IOError).map { String(cString: strerror($0.errnoCode)) }
            ?? "\(attempt.error)"
    }
    if let lookup = failure.dnsAError ?? failure.dnsAAAAError { return "\(lookup)" }
    return "\(failure)"
}
