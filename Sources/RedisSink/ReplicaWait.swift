/// Replicas that must have acknowledged a batch (`WAIT`), and how long one round of waiting takes.
public struct ReplicaWait: Sendable, Hashable {
    public var replicas: Int
    public var timeoutMilliseconds: Int64

    public init(replicas: Int, timeoutMilliseconds: Int64) {
        self.replicas = replicas
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}
