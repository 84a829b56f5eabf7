import Foundation
import Glibc

/// What a server answers over HTTP, to whoever asks as plainly as a test can: one request, read until the end.
public struct HTTPProbe: Sendable {
    public var status: Int
    /// By name, in lower case.
    public var headers: [String: String]
    public var body: String

    /// - Throws: `TestServerError` where nothing that is HTTP comes within the time.
    public static func get(
        _ target: String, port: Int, method: String = "GET", within seconds: Int = 10
    ) throws -> HTTPProbe {
        let request = "\(method) \(target) HTTP/1.1\r\nhost: 127.0.0.1:\(port)\r\nconnection: close\r\n\r\n"
        let connection = try PlainConnection(port: port)
        try connection.send(request)
        return try HTTPProbe(parsing: try connection.readToEnd(within: seconds))
    }

    public init(parsing text: String) throws {
        guard let end = text.range(of: "\r\n\r\n") else {
            throw TestServerError("no HTTP: '\(text.prefix(200))'")
        }
        let lines = text[..<end.lowerBound].split(separator: "\r\n")
        let first = (lines.first ?? "").split(separator: " ")
        guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else {
            throw TestServerError("no HTTP: '\(text.prefix(200))'")
        }
        self.status = status
        headers = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            headers[line[..<colon].lowercased()] = String(value)
        }
        body = String(text[end.upperBound...])
    }
}

/// A TCP connection to a port of 127.0.0.1.
public final class PlainConnection: Sendable {
    private let descriptor: Int32

    public init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw TestServerError("socket: \(String(cString: strerror(errno)))") }
        var address = loopbackAddress(port: port)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard connected else {
            let reason = String(cString: strerror(errno))
            Glibc.close(descriptor)
            throw TestServerError("no connection to port \(port): \(reason)")
        }
    }

    deinit { Glibc.close(descriptor) }

    public func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw TestServerError("send: \(String(cString: strerror(errno)))")
        }
    }

    /// Everything until the other side closes.
    public func readToEnd(within seconds: Int) throws -> String {
        var patience = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var answer: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &part, part.count, 0)
            if count == 0 || count < 0 && errno == ECONNRESET { break }
            guard count > 0 else { throw TestServerError("recv: \(String(cString: strerror(errno)))") }
            answer += part.prefix(count)
        }
        return String(decoding: answer, as: UTF8.self)
    }
}
