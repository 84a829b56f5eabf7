import Glibc

/// Asks a ZooKeeper server one of its four-letter words, such as `srvr` or `mntr`.
///
/// - Returns: The answer; `nil` without one within a second.
public func fourLetterWord(_ word: String, port: Int) -> String? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var patience = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = loopbackAddress(port: port)
    let connected = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
    let question = Array(word.utf8)
    guard connected,
        Glibc.send(descriptor, question, question.count, Int32(MSG_NOSIGNAL)) == question.count
    else { return nil }
    var answer: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 4096)
    while answer.count < 1 << 20 {
        let count = recv(descriptor, &part, part.count, 0)
        guard count > 0 else { break }
        answer += part.prefix(count)
    }
    return answer.isEmpty ? nil : String(decoding: answer, as: UTF8.self)
}
