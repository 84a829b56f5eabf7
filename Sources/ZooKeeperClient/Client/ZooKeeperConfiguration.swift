/// What a session proves itself with.
public struct Authentication: Sendable, Hashable {
    /// `digest` for a name and a password.
    public var scheme: String
    /// For `digest`: `name:password`.
    public var credentials: [UInt8]

    public init(scheme: String, credentials: [UInt8]) {
        self.scheme = scheme
        self.credentials = credentials
    }
}

/// Settings of a `ZooKeeperClient`.
public struct ZooKeeperConfiguration: Sendable {
    public var connect: ConnectString
    /// How long the server keeps the session without a sign of life. The server may grant another time, by
    /// default between 2 and 20 of its ticks.
    public var sessionTimeout: Duration = .seconds(10)
    /// For one attempt at one server: TCP and, again, ZooKeeper's handshake.
    public var connectTimeout: Duration = .seconds(3)
    /// For one async operation, waiting for a connection included. A connection on which requests are under
    /// way and none is answered for this long is given up.
    public var requestTimeout: Duration = .seconds(15)
    /// Sent on each connection before anything else.
    public var authentication: [Authentication] = []
    /// The highest transaction known from earlier runs. Sent from the first connection on, so that a server
    /// whose state is older refuses us instead of showing the past; raised by every answer.
    public var minimumZxid: Int64 = 0
    /// A larger frame from the server ends the connection with `.frameTooLarge`. Bytes.
    public var maximumReplyBytes = 64 << 20
    /// A larger request fails with `.frameTooLarge`. A server drops the connection at more than its
    /// `jute.maxbuffer`, 0xfffff unless set. Bytes.
    public var maximumRequestBytes = 0xfffff
    /// Requests sent and not yet answered; more wait in the client.
    public var maximumRequestsInFlight = 1000
    /// Requests that wait in the client; more fail with `.overloaded`.
    public var maximumRequestsWaiting = 100_000
    /// Events that nobody has fetched. Above it the client stops reading from the server until they are
    /// fetched.
    public var eventQueueLimit = 10_000
    /// The n-th attempt in a row waits a random time between nothing and `backoffInitial` × 2ⁿ, at most
    /// `backoffMaximum`, where n counts rounds over all servers.
    public var backoffInitial: Duration = .milliseconds(100)
    public var backoffMaximum: Duration = .seconds(3)

    public init(connect: ConnectString) {
        self.connect = connect
    }
}
