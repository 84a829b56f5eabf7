internal import Logging
internal import NIOCore

/// Asks Sentinels where a master is. Source: redis.io/docs/latest/develop/reference/sentinel-clients.
///
/// All are asked at once: one that is silent, gone with the master's own host perhaps, must not hold up the others.
struct SentinelLookup {
    let configuration: RedisConfiguration
    let sentinel: RedisSentinel
    let tls: TLSContext?
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger

    /// For one Sentinel.
    private static let answerTimeout = Duration.seconds(1)
    /// For all of them, where nothing depends on the answer yet.
    private static let lookTimeout = Duration.milliseconds(250)

    private typealias Answer = Result<RedisEndpoint.Address?, RedisError>

    /// A connection to the first server named that says itself that it is a master.
    ///
    /// - Throws: `connectionFailed` where no Sentinel answers, none knows the master, or each names a replica.
    func connect() async throws(RedisError) -> RedisConnection {
        var reasons: [String] = []
        let found = await withTaskGroup(of: Answer.self) { group -> RedisConnection? in
            ask(SentinelLookup.answerTimeout, in: &group)
            defer { group.cancelAll() }
            var tried: Set<RedisEndpoint.Address> = []
            while let answer = await group.next() {
                do throws(RedisError) {
                    guard let address = try answer.get() else {
                        reasons.append("a Sentinel knows no master '\(sentinel.master)'")
                        continue
                    }
                    guard tried.insert(address).inserted else { continue }
                    return try await master(at: address)
                } catch {
                    reasons.append("\(error)")
                }
            }
            return nil
        }
        if let found { return found }
        if Task.isCancelled { throw RedisError(code: .cancelled, message: "cancelled", address: place) }
        throw RedisError(
            code: .connectionFailed,
            message: "no Sentinel leads to a master: \(reasons.joined(separator: "; "))", address: place)
    }

    /// The master that most Sentinels name at this moment, where it is another than `address` and says itself that it
    /// is one.
    func successor(of address: String) async -> RedisEndpoint.Address? {
        let named = await withTaskGroup(of: Answer.self) { group -> [RedisEndpoint.Address] in
            ask(SentinelLookup.lookTimeout, in: &group)
            var named: [RedisEndpoint.Address] = []
            while let answer = await group.next() {
                if let address = try? answer.get() { named.append(address) }
            }
            return named
        }
        let counts = Dictionary(grouping: named) { $0 }.mapValues(\.count)
        guard let most = counts.max(by: { $0.value < $1.value })?.key, most.description != address,
            let connection = try? await master(at: most)
        else { return nil }
        await connection.close()
        return most
    }

    private var place: String { configuration.endpoint.address.description }

    private func ask(_ timeout: Duration, in group: inout TaskGroup<Answer>) {
        for address in sentinel.addresses {
            group.addTask {
                do throws(RedisError) {
                    return .success(try await ask(address, timeout))
                } catch {
                    return .failure(error)
                }
            }
        }
    }

    private func ask(
        _ address: RedisEndpoint.Address, _ timeout: Duration
    ) async throws(RedisError) -> RedisEndpoint.Address? {
        var settings = configuration
        settings.endpoint = RedisEndpoint(address: address, tls: configuration.endpoint.tls)
        settings.connectTimeout = min(timeout, configuration.connectTimeout)
        settings.replyTimeout = settings.connectTimeout
        let connection = try await RedisConnection.connect(
            settings, tls: tls, eventLoopGroup: eventLoopGroup, logger: logger)
        var batch = RedisCommandBatch()
        batch.append("SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel.master)
        let replies: [RESPValue]
        do throws(RedisError) {
            replies = try await connection.send(batch)
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
        if case .error(let error)? = replies.first {
            throw RedisError(code: .server(error), message: error.message, address: address.description)
        }
        guard let parts = replies.first?.array, parts.count == 2, let host = parts[0].string,
            let port = parts[1].string.flatMap({ Int($0) }), (1...65_535).contains(port)
        else { return nil }
        return .host(host, port: port)
    }

    /// A Sentinel may not have noticed yet that a master has become a replica.
    private func master(at address: RedisEndpoint.Address) async throws(RedisError) -> RedisConnection {
        var settings = configuration
        settings.endpoint.address = address
        settings.endpoint.sentinel = nil
        let connection = try await RedisConnection.connect(
            settings, tls: tls, eventLoopGroup: eventLoopGroup, logger: logger)
        do throws(RedisError) {
            var batch = RedisCommandBatch()
            batch.append("ROLE")
            guard try await connection.send(batch).first?.array?.first?.string != "slave" else {
                throw RedisError(
                    code: .connectionFailed, message: "Sentinel names a server that is a replica",
                    address: address.description)
            }
        } catch {
            await connection.close()
            throw error
        }
        return connection
    }
}
