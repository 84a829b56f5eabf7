public import NIOSSL

/// Settings of a `ZooKeeperObserver`.
public struct ObserverConfiguration: Sendable {
    /// The quorum ports of the voters, the first number behind the host in `server.1=host:2888:3888`. Only the leader
    /// listens there, so they are tried in turn. Never the election port, which is the second number.
    public var quorumServers: [ZooKeeperAddress]
    /// The `observerMasterPort`s of followers, where the ensemble has them (3.6 and later). They are tried first: what
    /// we cost then does not fall on the leader.
    public var observerMasters: [ZooKeeperAddress] = []
    /// Whether voters that the ensemble's configuration names, and `quorumServers` does not, are tried, too.
    public var usesAnnouncedServers = true
    /// The last transaction held from earlier runs; 0 for none, which begins with a snapshot.
    public var lastZxid: Int64 = 0
    /// Where the quorum has `sslQuorum`: roots that vouch for the servers, and our certificate and key, which it demands.
    /// The servers must have the names or addresses by which they are configured here.
    public var tls: TLSConfiguration?
    /// Where the quorum has `quorum.auth.enableSasl`.
    public var credentials: QuorumCredentials?
    /// For TCP, for each server.
    public var connectTimeout: Duration = .seconds(3)
    /// Until the leader has announced its epoch, and between the end of a difference and `.upToDate`: a leader that waits for
    /// its quorum, or is frozen, says neither, and another one may lead meanwhile.
    public var handshakeTimeout: Duration = .seconds(5)
    /// Else until `.upToDate`: no byte for this long ends the connection.
    public var syncTimeout: Duration = .seconds(60)
    /// After `.upToDate`: the same. A leader pings twice a tick.
    public var silenceTimeout: Duration = .seconds(15)
    /// While reading pauses because nobody fetches events, the leader gets a sign of life this often, so that it does not
    /// end the connection after its `syncLimit`.
    public var keepAliveInterval: Duration = .milliseconds(500)
    /// Then the connection is ended, since what we do not read the leader keeps in its memory, without a bound. Once
    /// the events are fetched the observer goes on where it stopped.
    public var stallLimit: Duration = .seconds(30)
    /// Servers that do not hold `lastZxid` are tried again for this long, since one may lag.
    public var behindLimit: Duration = .seconds(60)
    /// A larger packet, or node in a snapshot, ends the connection. Writes are bounded by the servers' `jute.maxbuffer`
    /// (1 MiB unless set); the end of a session names all its ephemeral nodes and may be larger. Bytes.
    public var maximumPacketBytes = 64 << 20
    /// Above it, reading pauses until events are fetched. Bytes, roughly; one read of the socket more may be held.
    public var readAheadBytes = 4 << 20
    /// As in `ZooKeeperConfiguration`.
    public var backoffInitial: Duration = .milliseconds(100)
    public var backoffMaximum: Duration = .seconds(3)

    public init(quorumServers: [ZooKeeperAddress]) {
        self.quorumServers = quorumServers
    }
}
