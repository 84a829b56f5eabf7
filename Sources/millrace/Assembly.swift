import ChangeModel
import Engine
import Glibc
import Logging
import Mapping
import PipelineDefinition
import RedisClient
import RedisSink
import SegmentLog
import SystemPackage
import ZooKeeperClient
import ZooKeeperSource

/// How this run differs from others of the same definition.
struct RunOptions {
    var stopsWhenCaughtUp = false
    var takesOver = false
    var waitsForServers = false
    var isNewEnsemble = false
    var deletesWhatLeftTheScope = false
    /// Off only to show that tests notice what it is good for.
    var resyncs = true
    /// Likewise.
    var isFenced = true
    /// Sinks write somewhere else, under another name.
    var replay: ReplayTarget?
    /// A sink without a checkpoint begins with the log's start, whatever the definition says.
    var startsAtEarliest = false
}

/// Where a replay goes.
struct ReplayTarget {
    /// Instead of the sinks' own Redis; `nil` for the same.
    var redisURL: String?
    /// Behind the sinks' names in those of the checkpoints.
    var suffix: String
}

/// Makes the parts of a pipeline from its definition. The one place that knows every kind of source and sink.
struct Assembly {
    let definition: PipelineDefinition
    var options = RunOptions()

    /// The log's directory: segments lie directly in it.
    var directory: FilePath { FilePath(definition.log.directory).appending(definition.name) }

    func setup(logger: Logger) throws -> PipelineSetup {
        var setup = PipelineSetup(
            name: definition.name, directory: directory, log: logConfiguration,
            retainsByForce: definition.log.retainForce,
            mapper: Mapper(transform: definition.transform, sinks: definition.sinks.map(\.specification)),
            source: ZooKeeperSource(try sourceConfiguration(), logger: logger),
            sinks: try definition.sinks.map { try sink($0, logger: logger) }, onError: errorPolicy,
            stopsWhenCaughtUp: options.stopsWhenCaughtUp, takesOver: options.takesOver,
            isNewEnsemble: options.isNewEnsemble, logger: logger)
        setup.tellsBefore = definition.source.tellsBefore
        return setup
    }

    /// Where each sink keeps its checkpoint, in the order of the definition.
    func checkpointStores() throws -> [(sink: String, store: any CheckpointStore)] {
        try definition.sinks.map { ($0.name, try checkpointStore($0)) }
    }

    private var logConfiguration: LogConfiguration {
        let log = definition.log
        let fsync: FsyncPolicy =
            switch log.fsync {
            case .batch: .batch
            case .interval(let milliseconds): .interval(.milliseconds(milliseconds))
            case .never: .never
            }
        return LogConfiguration(
            segmentBytes: log.segmentBytes, fsync: fsync,
            retention: Retention(bytes: log.retainBytes, ageMilliseconds: log.retainAgeMilliseconds))
    }

    private var errorPolicy: Engine.ErrorPolicy {
        switch definition.onError {
        case .deadLetter: .deadLetter
        case .stop: .stop
        case .skip: .skip
        }
    }

    func sourceConfiguration() throws -> ZooKeeperSource.Configuration {
        let source = definition.source
        var client: ZooKeeperConfiguration
        do {
            client = ZooKeeperConfiguration(connect: try ConnectString(parsing: source.connect))
        } catch {
            throw PipelineError.unavailable("\(definition.file): source.zookeeper.connect: \(error)")
        }
        client.sessionTimeout = .milliseconds(source.sessionTimeoutMilliseconds)
        if let auth = source.auth {
            client.authentication = [
                Authentication(scheme: auth.scheme, credentials: Array(auth.credentials.utf8))
            ]
        }
        let snapshot: SnapshotMode =
            switch source.snapshot {
            case .initial: .initial
            case .always: .always
            case .never: .never
            case .whenNeeded: .whenNeeded
            }
        var configuration = ZooKeeperSource.Configuration(
            client: client, scope: source.scope,
            snapshot: snapshot, waitsForServers: options.waitsForServers)
        if let quorum = source.quorum {
            do {
                configuration.observer = try Assembly.observer(quorum)
            } catch {
                throw PipelineError.unavailable("\(definition.file): source.zookeeper.quorum: \(error)")
            }
            configuration.fallsBackToWatch = source.capture == .auto
        }
        configuration.isNewEnsemble = options.isNewEnsemble
        configuration.deletesWhatLeftTheScope = options.deletesWhatLeftTheScope
        configuration.resyncs = options.resyncs
        return configuration
    }

    private static func observer(
        _ quorum: ZooKeeperSourceDefinition.Quorum
    ) throws(ZooKeeperError) -> ObserverConfiguration {
        var observer = ObserverConfiguration(quorumServers: [])
        if let servers = quorum.servers {
            observer.quorumServers = try ConnectString(parsing: servers).servers
        }
        if let masters = quorum.observerMasters {
            observer.observerMasters = try ConnectString(parsing: masters).servers
        }
        if let credentials = quorum.credentials {
            let parts = credentials.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            observer.credentials = QuorumCredentials(
                name: String(parts[0]), password: parts.count > 1 ? String(parts[1]) : "")
        }
        if let tls = quorum.tls {
            try observer.useTLS(rootsPath: tls.ca, certificatePath: tls.cert, keyPath: tls.key)
        }
        return observer
    }

    private func sink(_ sink: SinkDefinition, logger: Logger) throws -> SinkSetup {
        let made: any ChangeSink
        switch sink.specification.write {
        case .stdout:
            made = StandardOutputSink(
                pipeline: definition.name,
                store: FileCheckpointStore(log: directory, sink: checkpointName(sink)),
                onMissingCheckpoint: missingCheckpoint(sink))
        case .stream, .string, .hash, .set, .sortedSet, .children:
            made = try redisSink(sink, logger)
        }
        return SinkSetup(name: sink.name, sink: made, checkpoints: try checkpointStore(sink))
    }

    private func redisSink(_ sink: SinkDefinition, _ logger: Logger) throws -> any ChangeSink {
        var configuration = RedisSink.Configuration(
            pipeline: definition.name, sink: checkpointName(sink), redis: try redis(sink),
            onMissingCheckpoint: missingCheckpoint(sink), owner: Assembly.owner)
        if case .stream(let stream) = sink.specification.write { configuration.stream = stream }
        if sink.specification.remembersAddresses(definition.transform) {
            configuration.maxRemembered = sink.maxRemembered
        }
        configuration.wait = sink.wait.map {
            ReplicaWait(replicas: $0.replicas, timeoutMilliseconds: $0.timeoutMilliseconds)
        }
        configuration.isFenced = options.isFenced
        configuration.takeOverPause = .milliseconds(definition.source.sessionTimeoutMilliseconds)
        if configuration.redis.endpoint.clusterSeeds == nil {
            return RedisSink(configuration, logger: logger)
        }
        configuration.writesLists = sink.specification.write == .children
        configuration.holdsBack = definition.transform.stages.contains { stage in
            if case .throttle = stage { true } else { false }
        }
        return try RedisClusterSink(configuration, logger: logger)
    }

    /// Reads what a sink holds; `nil` where it holds no state.
    func sinkReader(_ sink: SinkDefinition, logger: Logger) throws -> (any SinkReader)? {
        guard sink.specification.holdsState else { return nil }
        do {
            return try RedisSinkReader(
                try redis(sink), pipeline: definition.name, sink: sink.name, logger: logger)
        } catch let error as RedisError {
            throw PipelineError.unavailable("\(definition.file): sinks.\(sink.name).redis: \(error)")
        }
    }

    private func checkpointStore(_ sink: SinkDefinition) throws -> any CheckpointStore {
        if sink.redisURL == nil { return FileCheckpointStore(log: directory, sink: checkpointName(sink)) }
        let redis = try redis(sink)
        if redis.endpoint.clusterSeeds == nil {
            return RedisCheckpointStore(redis, pipeline: definition.name, sink: checkpointName(sink))
        }
        let writesStreams = if case .stream = sink.specification.write { true } else { false }
        return RedisClusterCheckpointStore(
            redis, pipeline: definition.name, sink: checkpointName(sink), writesStreams: writesStreams)
    }

    private func checkpointName(_ sink: SinkDefinition) -> String {
        sink.name + (options.replay?.suffix ?? "")
    }

    private func redis(_ sink: SinkDefinition) throws -> RedisConfiguration {
        if let url = options.replay?.redisURL {
            do {
                return RedisConfiguration(endpoint: try RedisEndpoint(parsing: url))
            } catch {
                throw PipelineError.unavailable("--into: \(error)")
            }
        }
        do {
            return RedisConfiguration(endpoint: try RedisEndpoint(parsing: sink.redisURL ?? ""))
        } catch {
            throw PipelineError.unavailable("\(definition.file): sinks.\(sink.name).redis: \(error)")
        }
    }

    private func missingCheckpoint(_ sink: SinkDefinition) -> MissingCheckpoint {
        if options.startsAtEarliest || options.replay != nil { return .earliest }
        return switch sink.onMissingCheckpoint {
        case .earliest: .earliest
        case .latest: .latest
        case .stop: .stop
        }
    }

    /// This host and process, for whoever is fenced off by us.
    private static var owner: String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return "\(host) process \(getpid())"
    }
}
