/// Which server to try next, and after what delay.
struct ServerRotation: Sendable {
    private var servers: [ZooKeeperAddress]
    private let initial: Duration
    private let maximum: Duration
    private var next = 0
    private var failures = 0

    /// The servers in a random order, so that many clients do not all go to the first.
    init(_ configuration: ZooKeeperConfiguration) {
        servers = configuration.connect.servers.shuffled()
        initial = configuration.backoffInitial
        maximum = configuration.backoffMaximum
    }

    /// The servers in the order given.
    init(_ servers: [ZooKeeperAddress], backoffInitial: Duration, backoffMaximum: Duration) {
        self.servers = servers
        initial = backoffInitial
        maximum = backoffMaximum
    }

    /// Those that are not known yet come last.
    mutating func add(_ more: [ZooKeeperAddress]) {
        for server in more where !servers.contains(server) { servers.append(server) }
    }

    /// The first server is the next.
    mutating func startOver() { next = 0 }

    /// `nil` only without servers.
    mutating func nextServer() -> ZooKeeperAddress? {
        guard !servers.isEmpty else { return nil }
        defer { next = (next + 1) % servers.count }
        return servers[next]
    }

    /// A connection that lived as long as the longest delay was a good one.
    mutating func ended(after lifetime: Duration) {
        failures = lifetime >= maximum ? 1 : failures + 1
    }

    /// The same server again: it has told that the session is gone.
    mutating func retrySame() {
        guard !servers.isEmpty else { return }
        next = (next + servers.count - 1) % servers.count
        failures += 1
    }

    /// The longest the next attempt may wait; zero before the first.
    var longestDelay: Duration {
        guard failures > 0 else { return .zero }
        let round = min((failures - 1) / max(servers.count, 1), 20)
        return min(initial * (1 << round), maximum)
    }

    /// Full jitter, so that many clients do not come back together.
    func delay() -> Duration { longestDelay * Double.random(in: 0...1) }
}
