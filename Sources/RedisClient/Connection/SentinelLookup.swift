internal import Logging
internal import NIOCore

/// Asks Sentinels where a master is. Source: redis.io/docs/latest/develop/reference/sentinel-clients.
struct SentinelLookup {
    let configuration: RedisConfiguration
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger

    /// The configuration to reach the master of this moment with; the same where no Sentinel is asked.
    ///
    /// - Throws: `connectionFailed` where no Sentinel answers or none knows the master.
    func resolved() async throws(RedisError) -> RedisConfiguration {
        guard let sentinel = configuration.endpoint.sentinel else { return configuration }
        var reasons: [String] = []
        for address in sentinel.addresses {
            do throws(RedisError) {
                guard let master = try await ask(address, sentinel.master) else {
                    reasons.append("\(address) knows no master '\(sentinel.master)'")
                    continue
                }
                var resolved = configuration
                resolved.endpoint.address = master
                resolved.endpoint.sentinel = nil
                return resolved
            } catch {
                if error.code == .cancelled { throw error }
                reasons.append("\(address): \(error.message)")
            }
        }
        throw RedisError(
            code: .connectionFailed,
            message: "no Sentinel names a master: \(reasons.joined(separator: "; "))",
            address: configuration.endpoint.address.description)
    }

    private func ask(
        _ address: RedisEndpoint.Address, _ master: String
    ) async throws(RedisError) -> RedisEndpoint.Address? {
        var settings = configuration
        settings.endpoint = RedisEndpoint(address: address)
        settings.replyTimeout = settings.connectTimeout
        let connection = try await RedisConnection.connect(
            settings, eventLoopGroup: eventLoopGroup, logger: logger)
        var batch = RedisCommandBatch()
        batch.append("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
        let replies: [RESPValue]
        do throws(RedisError) {
            replies = try await connection.send(batch)
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
        guard let reply = replies.first, case .error(let error) = reply else {
            guard let parts = replies.first?.array, parts.count == 2, let host = parts[0].string,
                let port = parts[1].string.flatMap({ Int($0) }), (1...65_535).contains(port)
            else { return nil }
            return .host(host, port: port)
        }
        throw RedisError(code: .server(error), message: error.message, address: address.description)
    }
}
