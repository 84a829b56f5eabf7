public import Engine
public import Mapping
public import RedisClient

extension RedisSink {
    public struct Configuration: Sendable {
        public var pipeline: String
        public var sink: String
        public var redis: RedisConfiguration
        public var onMissingCheckpoint: MissingCheckpoint
        /// For `write: stream`; `nil` for keys.
        public var stream: StreamOptions?
        /// How many paths, and what they have written, Redis may remember for keys that the path does not decide;
        /// `nil`: the path decides, and nothing is remembered.
        public var maxRemembered: Int64?
        /// For a cluster: the sink writes lists (`write: children`).
        public var writesLists = false
        /// For a cluster: a change may come behind later ones of other nodes (`throttle`).
        public var holdsBack = false
        /// How long the log may take to capture what a stream numbered by zxids has already: another instance was ahead.
        public var lagPatience = Duration.seconds(10)
        /// In a cluster: how long a new owner of keys waits for the one before to notice.
        public var takeOverPause = Duration.seconds(10)
        /// Host and process, shown to whoever is fenced off.
        public var owner: String
        /// Replicas that must have a batch before it counts as delivered.
        public var wait: ReplicaWait?
        /// Without the fence a second process writes beside this one. For tests that show what it is good for.
        public var isFenced = true

        public init(
            pipeline: String, sink: String, redis: RedisConfiguration, onMissingCheckpoint: MissingCheckpoint,
            stream: StreamOptions? = nil, owner: String
        ) {
            self.pipeline = pipeline
            self.sink = sink
            self.redis = redis
            // Of what writes alone: in a cluster whoever takes the sink ends all connections of this name.
            self.redis.clientName = CheckpointRecord.key(pipeline: pipeline, sink: sink)
            self.onMissingCheckpoint = onMissingCheckpoint
            self.stream = stream
            self.owner = owner
        }
    }
}
