import Foundation
import Glibc

/// A new directory that goes, with what is in it, when the last reference to it goes.
public final class TemporaryDirectory: Sendable {
    public let path: String

    /// Short enough that a unix socket's path fits in it.
    public init() throws {
        let base = FileManager.default.temporaryDirectory.path
        var template = Array("\(base)/millrace-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw TestServerError("mkdtemp in \(base): \(String(cString: strerror(errno)))")
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
