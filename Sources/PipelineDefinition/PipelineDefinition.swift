public import ChangeModel
public import Mapping

/// A pipeline as its definition file describes it, checked and with every default filled in.
public struct PipelineDefinition: Sendable {
    public var name: String
    /// The file that it was read from, as it was named.
    public var file: String
    public var source: ZooKeeperSourceDefinition
    public var log: LogDefinition
    public var transform: TransformSpecification
    /// In the order of the file.
    public var sinks: [SinkDefinition]
    public var onError: ErrorPolicy
    /// 16 hexadecimal digits that change whenever the rules or what the sinks write change, and only then.
    public var transformFingerprint: String

    /// What to do with a change that cannot be mapped or that the store refuses.
    public enum ErrorPolicy: String, Sendable, Hashable, CaseIterable {
        case deadLetter = "dead_letter"
        case stop, skip
    }
}

/// What to capture from ZooKeeper.
public struct ZooKeeperSourceDefinition: Sendable, Hashable {
    /// `host:port,host:port/chroot`
    public var connect: String
    /// The subtrees: normalised, sorted, none inside another.
    public var paths: [String]
    /// What is left out, each with everything below; `/zookeeper` too unless `paths` asks for it.
    public var exclude: [PathPattern]
    public var capture: Capture
    /// For `observer` and `auto`; `nil` for `watch`.
    public var quorum: Quorum?
    public var snapshot: Snapshot
    public var sessionTimeoutMilliseconds: Int
    /// `nil` where none are given, or given as an empty text.
    public var auth: Authentication?
    /// Whether a change carries the data before it too.
    public var tellsBefore: Bool

    public var scope: CaptureScope { CaptureScope(paths: paths, excluded: exclude) }

    public enum Capture: String, Sendable, Hashable, CaseIterable {
        case watch, observer
        /// As an observer where one is let in, else by watches.
        case auto
    }

    /// When to read the whole of `paths` as it stands.
    public enum Snapshot: String, Sendable, Hashable, CaseIterable {
        case initial, always, never
        case whenNeeded = "when_needed"
    }

    /// How an observer attaches.
    public struct Quorum: Sendable, Hashable {
        /// The quorum ports of the voters, `host:port,host:port`; `nil`: those that the ensemble's configuration names.
        public var servers: String?
        /// The `observerMasterPort`s of followers, likewise; `nil`: none.
        public var observerMasters: String?
        /// `user:password`, secret; `nil` where the quorum asks for none.
        public var credentials: String?
        /// `nil` where the quorum has no TLS.
        public var tls: TLS?

        public init(
            servers: String? = nil, observerMasters: String? = nil, credentials: String? = nil,
            tls: TLS? = nil
        ) {
            self.servers = servers
            self.observerMasters = observerMasters
            self.credentials = credentials
            self.tls = tls
        }

        /// Files in PEM.
        public struct TLS: Sendable, Hashable {
            /// `nil`: the roots that the system trusts.
            public var ca: String?
            public var cert: String
            public var key: String

            public init(ca: String?, cert: String, key: String) {
                self.ca = ca
                self.cert = cert
                self.key = key
            }
        }
    }

    public struct Authentication: Sendable, Hashable {
        public var scheme: String
        /// Secret.
        public var credentials: String
    }
}

/// Where the log lies and how it is kept.
public struct LogDefinition: Sendable, Hashable {
    /// As written; relative to the working directory. The log itself lies in a folder of the pipeline's name.
    public var directory: String
    public var segmentBytes: Int
    public var fsync: Fsync
    /// `nil`: no bound by size.
    public var retainBytes: Int64?
    /// `nil`: no bound by age.
    public var retainAgeMilliseconds: Int64?
    /// Whether retention may pass the slowest checkpoint.
    public var retainForce: Bool

    public enum Fsync: Sendable, Hashable {
        case batch
        case interval(milliseconds: Int)
        case never
    }
}

/// One sink: what it writes, and where to.
public struct SinkDefinition: Sendable, Hashable {
    public var specification: SinkSpecification
    /// May hold a password. `nil` only for `write: stdout`.
    public var redisURL: String?
    public var onMissingCheckpoint: MissingCheckpointPolicy
    /// How many paths, and what they have written, Redis may remember where a key, member or field comes from the data.
    public var maxRemembered: Int64
    /// Replicas that must have a batch before it counts as delivered; `nil`: none.
    public var wait: ReplicaWait?

    public struct ReplicaWait: Sendable, Hashable {
        public var replicas: Int
        /// One round of waiting; a new one follows until the replicas are there.
        public var timeoutMilliseconds: Int64
    }

    /// Where delivery starts when the store has no checkpoint of this sink.
    public enum MissingCheckpointPolicy: String, Sendable, Hashable, CaseIterable {
        case earliest, latest, stop
    }

    public var name: String { specification.name }
}

/// What reading a definition gave.
public struct LoadResult: Sendable {
    /// `nil` where there is any error among the diagnostics.
    public var definition: PipelineDefinition?
    /// Its tests, as far as they can be read: they stand for themselves, whatever is wrong with the rest.
    public var tests: [PipelineTest] = []
    /// All that was found, in the order of the file.
    public var diagnostics: [Diagnostic]

    public var errors: [Diagnostic] { diagnostics.filter { $0.severity == .error } }
}
