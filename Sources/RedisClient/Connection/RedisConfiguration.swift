/// How to reach a server and how much to bear.
public struct RedisConfiguration: Sendable {
    /// RESP 2 suffices to write; 3 types replies more finely.
    public enum ProtocolVersion: Int, Sendable {
        case resp2 = 2
        case resp3 = 3
    }

    public var endpoint: RedisEndpoint
    /// Shown by `CLIENT LIST`. Redis refuses spaces and control characters in it.
    public var clientName: String?
    /// For name resolution, connection, TLS, authentication and selection of the database together.
    public var connectTimeout: Duration
    /// From the sending of a batch to the arrival of its last reply. Blocking commands have to block for
    /// less.
    public var replyTimeout: Duration
    public var limits: RESPLimits
    public var protocolVersion: ProtocolVersion
    /// Bounds of the pause between two attempts to connect, which doubles from one to the other. The actual
    /// pause is drawn evenly between zero and that, so that many clients do not come back together.
    public var backoff: ClosedRange<Duration>
    /// Batches that one connection may have sent without all their replies. `send` throws `limitExceeded`
    /// beyond it, sends nothing, and the connection goes on.
    public var maximumOutstandingBatches: Int
    /// The same for the bytes of those batches. A single batch may be larger.
    public var maximumOutstandingBytes: Int

    public init(
        endpoint: RedisEndpoint, clientName: String? = nil, connectTimeout: Duration = .seconds(5),
        replyTimeout: Duration = .seconds(30), limits: RESPLimits = .init(),
        protocolVersion: ProtocolVersion = .resp2,
        backoff: ClosedRange<Duration> = .milliseconds(10)...(.seconds(1)),
        maximumOutstandingBatches: Int = 1_024, maximumOutstandingBytes: Int = 64 << 20
    ) {
        self.endpoint = endpoint
        self.clientName = clientName
        self.connectTimeout = connectTimeout
        self.replyTimeout = replyTimeout
        self.limits = limits
        self.protocolVersion = protocolVersion
        self.backoff = backoff
        self.maximumOutstandingBatches = maximumOutstandingBatches
        self.maximumOutstandingBytes = maximumOutstandingBytes
    }
}
