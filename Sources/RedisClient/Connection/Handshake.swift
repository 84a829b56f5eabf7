/// Sets up a new connection: protocol version, credentials, name, database. A state machine without a socket.
///
/// All in one round trip; a second one where the server does not know `HELLO` (before Redis 6) or does not
/// permit it. Source: redis.io/docs/latest/commands/hello.
struct Handshake {
    private enum Step: String {
        case hello = "HELLO"
        case authenticate = "AUTH"
        case name = "CLIENT SETNAME"
        case select = "SELECT"
        case ping = "PING"
    }

    private let configuration: RedisConfiguration
    /// What has been sent and is not answered.
    private var steps: [Step] = []

    init(_ configuration: RedisConfiguration) {
        self.configuration = configuration
    }

    /// What to send first.
    mutating func start() -> RedisCommandBatch {
        commands(for: [.hello, .select, .ping])
    }

    /// Takes the replies to what was sent last. Returns what to send next; `nil` where the connection is
    /// ready.
    ///
    /// - Throws: `authenticationFailed`, `notSupported`, `server` or `protocolViolation`.
    mutating func receive(_ replies: [RESPValue]) throws(RedisError) -> RedisCommandBatch? {
        guard replies.count == steps.count else { throw unexpected("the set-up of a connection") }
        for (step, reply) in zip(steps, replies) {
            guard case .error(let error) = reply else { continue }
            if step == .hello, isUnavailable(error) {
                guard configuration.protocolVersion == .resp2 else {
                    throw RedisError(
                        code: .notSupported, message: "the server does not offer RESP3 (HELLO)",
                        address: configuration.endpoint.address.description)
                }
                return commands(for: [.authenticate, .name, .select, .ping])
            }
            try examine(error, of: step)
        }
        return nil
    }

    private func examine(_ error: RedisServerError, of step: Step) throws(RedisError) {
        switch step {
        case .authenticate:
            throw failure(.authenticationFailed, step, error)
        case .name where isUnavailable(error):
            // The name is for people who look at CLIENT LIST.
            return
        case .ping where ![.loading, .noauth].contains(error.prefix):
            // It answers; what else is wrong concerns only some commands.
            return
        default:
            break
        }
        let isAboutCredentials =
            [.noauth, .wrongpass].contains(error.prefix) || error.message.hasPrefix("ERR AUTH ")
            || error.message.hasPrefix("ERR invalid password")
        throw failure(isAboutCredentials ? .authenticationFailed : .server(redacted(error)), step, error)
    }

    private func isUnavailable(_ error: RedisServerError) -> Bool {
        switch error.prefix {
        case .noperm, .noproto: true
        case .err:
            error.message.hasPrefix("ERR unknown command") || error.message.hasPrefix("ERR unknown sub")
        default: false
        }
    }

    private mutating func commands(for wanted: [Step]) -> RedisCommandBatch {
        var batch = RedisCommandBatch()
        let endpoint = configuration.endpoint
        steps = []
        for step in wanted {
            let before = batch.count
            switch step {
            case .hello:
                appendHello(to: &batch)
            case .authenticate:
                guard let password = endpoint.password else { break }
                if let user = endpoint.username {
                    batch.append("AUTH", user, password)
                } else {
                    batch.append("AUTH", password)
                }
            case .name:
                if let name = configuration.clientName { batch.append("CLIENT", "SETNAME", name) }
            case .select:
                if endpoint.database != 0 { batch.append("SELECT", "\(endpoint.database)") }
            case .ping:
                // Finds out whether the server wants credentials or is still loading.
                batch.append("PING")
            }
            if batch.count > before { steps.append(step) }
        }
        return batch
    }

    private func appendHello(to batch: inout RedisCommandBatch) {
        let endpoint = configuration.endpoint
        let arguments = 2 + (endpoint.password == nil ? 0 : 3) + (configuration.clientName == nil ? 0 : 2)
        batch.begin(argumentCount: arguments)
        batch.add("HELLO" as StaticString)
        batch.add(Int64(configuration.protocolVersion.rawValue))
        if let password = endpoint.password {
            batch.add("AUTH" as StaticString)
            batch.add(endpoint.username ?? "default")
            batch.add(password)
        }
        if let name = configuration.clientName {
            batch.add("SETNAME" as StaticString)
            batch.add(name)
        }
    }

    // MARK: Errors

    private func failure(_ code: RedisError.Code, _ step: Step, _ error: RedisServerError) -> RedisError {
        RedisError(
            code: code, message: "\(step.rawValue): \(redacted(error).message)",
            address: configuration.endpoint.address.description)
    }

    private func unexpected(_ what: String) -> RedisError {
        RedisError(
            code: .protocolViolation, message: "unexpected replies to \(what)",
            address: configuration.endpoint.address.description)
    }

    /// Servers quote the arguments of what they do not understand.
    private func redacted(_ error: RedisServerError) -> RedisServerError {
        guard let password = configuration.endpoint.password, !password.isEmpty else { return error }
        return RedisServerError(message: error.message.replacing(password, with: "[password]"))
    }
}
