import Glibc

/// One end of the socket between a program and its worker: whole frames, one at a time in one direction.
struct JQSocket: Sendable {
    enum Failure: Error {
        /// The other end is gone, or sends what is no frame.
        case closed
        case late
    }

    let descriptor: Int32

    /// Both ends, closed at exec.
    static func pair() -> (JQSocket, JQSocket)? {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            return nil
        }
        return (JQSocket(descriptor: ends[0]), JQSocket(descriptor: ends[1]))
    }

    func close() { Glibc.close(descriptor) }

    /// Without a deadline it waits for as long as the other end lives.
    func send(_ frame: [UInt8], by deadline: ContinuousClock.Instant?) throws(Failure) {
        var sent = 0
        while sent < frame.count {
            let count = frame.withUnsafeBytes { frame in
                let rest = UnsafeRawBufferPointer(rebasing: frame[sent...])
                return Glibc.send(
                    descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                try wait(for: POLLOUT, by: deadline)
            } else if errno != EINTR {
                throw .closed
            }
        }
    }

    /// The next frame, its length included. Behind it nothing may have come: the other end waits for an answer.
    func receive(by deadline: ContinuousClock.Instant?) throws(Failure) -> [UInt8] {
        var frame = [UInt8](repeating: 0, count: JQSocket.firstBytes)
        var received = 0
        var expected = JQFrame.lengthBytes + 1
        let awake = ContinuousClock.now + JQSocket.timeAwake
        while received < expected {
            // No more than has come is believed to be coming.
            if received == frame.count {
                frame.append(contentsOf: repeatElement(0, count: min(expected, 2 * received) - received))
            }
            let count = frame.withUnsafeMutableBytes { frame in
                let rest = UnsafeMutableRawBufferPointer(rebasing: frame[received...])
                return recv(descriptor, rest.baseAddress, rest.count, Int32(MSG_DONTWAIT))
            }
            if count > 0 {
                received += count
                if received >= JQFrame.lengthBytes {
                    let length = Int(JQFrame.load(frame, at: 0))
                    guard length > 0, length <= JQFrame.maximumBytes else { throw .closed }
                    expected = JQFrame.lengthBytes + length
                }
                // What trickles is never waited for.
                if received < expected, let deadline, deadline <= .now { throw .late }
            } else if count < 0, errno == EAGAIN {
                if .now < awake { sched_yield() } else { try wait(for: POLLIN, by: deadline) }
            } else if count == 0 || errno != EINTR {
                throw .closed
            }
        }
        guard received == expected else { throw .closed }
        frame.removeLast(frame.count - received)
        return frame
    }

    /// Enough for most changes.
    private static let firstBytes = 2048
    /// Most answers, and where there is a lot to do the next request, come sooner than a processor that has gone to sleep
    /// wakes up again.
    private static let timeAwake = Duration.microseconds(40)

    private func wait(for events: Int32, by deadline: ContinuousClock.Instant?) throws(Failure) {
        while true {
            // Looked at once more at least: what is there already is not late.
            let left = deadline.map { max(($0 - .now) / .milliseconds(1), 0).rounded(.up) }
            var descriptors = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let count = poll(&descriptors, 1, left.map { Int32(min($0, 3_600_000)) } ?? -1)
            if count > 0 { return }
            if count == 0, let deadline, deadline <= .now { throw .late }
            if count < 0, errno != EINTR { throw .closed }
        }
    }
}
