import Mapping

/// A sink as far as it could be read, and the places that later checks point at.
struct ReadSink {
    var name: String
    /// Where its name stands.
    var position: Position
    /// `nil` where its kind is missing or wrong.
    var definition: SinkDefinition?
    /// Its templates by the key that they stand under.
    var templates: [(key: String, template: Located<Template>)]
    var ttl: Located<Template>?
    /// Where `id` stands.
    var idPosition: Position?
    /// Where `on_delete: tombstone` or `keep` stands.
    var leavesBehind: Position?
}

/// Reads `sinks:`.
struct SinkReader {
    let context: LoadContext

    private enum Kind: String, CaseIterable {
        case stream, string, hash, set, children, stdout
        case sortedSet = "sorted_set"

        /// The keys that a sink of this kind may have, beside `write`.
        var keys: [String] {
            let common = ["redis", "key", "on_missing_checkpoint", "wait"]
            let state = common + ["on_delete", "on_filtered", "ttl", "max_remembered"]
            switch self {
            case .stream: return common + ["id", "maxlen", "minid", "envelope"]
            case .string: return state + ["value"]
            case .hash: return state + ["field", "value"]
            case .set, .children: return state + ["member"]
            case .sortedSet: return state + ["member", "score"]
            case .stdout: return []
            }
        }

        /// The templates that it cannot do without.
        var required: [(key: String, example: String)] {
            switch self {
            case .stream, .string, .hash: [("key", "\"zk:{path}\"")]
            case .set, .children: [("key", "\"members\""), ("member", "\"{path}\"")]
            case .sortedSet: [("key", "\"ranking\""), ("member", "\"{path}\""), ("score", "\"{ts_ms}\"")]
            case .stdout: []
            }
        }
    }

    private static let keys = [
        "redis", "write", "key", "member", "field", "value", "score", "id", "maxlen", "minid", "on_delete",
        "on_missing_checkpoint", "wait", "ttl", "on_filtered", "envelope",
        "max_remembered",
    ]
    private static let later = ["lease"]
    private static let templateKeys = ["key", "member", "field", "value", "score"]

    /// The sinks in the order of the file.
    func read(_ root: Section) -> [ReadSink] {
        guard let node = root.required("sinks", example: "{console: {write: stdout}}") else { return [] }
        guard case .mapping(let entries) = node.content, !entries.isEmpty else {
            context.error(
                node.position, "sinks needs a mapping from names to sinks, not \(node.kind)",
                fix: "write for example changes: {write: stream, …}")
            return []
        }
        return entries.map(readSink)
    }

    private func readSink(_ entry: Node.Entry) -> ReadSink {
        if !Name.isSinkName(entry.key) {
            context.error(entry.position, "'\(entry.key)' is no name for a sink", fix: Name.sinkRule)
        }
        var sink = ReadSink(name: entry.key, position: entry.position, definition: nil, templates: [])
        guard
            let section = Section(
                entry.value, "the sink '\(entry.key)'", at: entry.position, keys: SinkReader.keys,
                later: SinkReader.later, context: context)
        else { return sink }
        sink.templates = templates(section)
        sink.ttl = section.text("ttl").flatMap(context.lifetime)
        sink.idPosition = section.position(of: "id")
        guard let write = section.required("write", example: "stream"),
            let kind = context.choice(write, "write", of: Kind.self)
        else {
            // What does not depend on the kind is checked all the same.
            if section.node("redis") != nil { _ = redisURL(section, .string) }
            _ = section.choice(
                "on_missing_checkpoint", default: SinkDefinition.MissingCheckpointPolicy.earliest)
            return sink
        }
        for key in SinkReader.keys where key != "write" && !kind.keys.contains(key) {
            section.refuse(key, "does not apply to 'write: \(kind.rawValue)'")
        }
        for (key, example) in kind.required { _ = section.required(key, example: example) }
        if case .scalar(let policy, _)? = section.node("on_delete")?.content,
            policy != DeletePolicy.delete.rawValue
        {
            sink.leavesBehind = section.position(of: "on_delete")
        }
        sink.definition = SinkDefinition(
            specification: specification(sink, section, kind), redisURL: redisURL(section, kind),
            onMissingCheckpoint: section.choice("on_missing_checkpoint", default: .earliest) ?? .earliest,
            maxRemembered: maxRemembered(section), wait: replicaWait(section))
        return sink
    }

    private static let defaultMaxRemembered: Int64 = 1_000_000

    private func maxRemembered(_ section: Section) -> Int64 {
        guard let text = section.text("max_remembered") else { return SinkReader.defaultMaxRemembered }
        guard let number = Int64(text.value), (1...1_000_000_000).contains(number) else {
            context.error(
                text.position, "max_remembered is no number from 1 to 1000000000: '\(text.value)'",
                fix: "write how many paths Redis may remember, for example 1000000")
            return SinkReader.defaultMaxRemembered
        }
        return number
    }

    private static let defaultWait: Int64 = 1000

    /// `{replicas: 1, timeout: 1s}`
    private func replicaWait(_ section: Section) -> SinkDefinition.ReplicaWait? {
        guard let node = section.node("wait"),
            let wait = Section(
                node, "wait", at: section.position(of: "wait"), keys: ["replicas", "timeout"],
                context: context)
        else { return nil }
        let timeout = wait.milliseconds("timeout", in: 1...20_000, context: context) ?? SinkReader.defaultWait
        guard let text = wait.required("replicas", example: "1").flatMap({ context.text($0, "replicas") })
        else {
            return nil
        }
        guard let replicas = Int(text.value), (1...100).contains(replicas) else {
            context.error(
                text.position, "replicas is no number from 1 to 100: '\(text.value)'",
                fix: "write how many replicas must have each batch, for example 1")
            return nil
        }
        return .init(replicas: replicas, timeoutMilliseconds: timeout)
    }

    private func specification(_ sink: ReadSink, _ section: Section, _ kind: Kind) -> SinkSpecification {
        func template(_ key: String) -> Template? { sink.templates.first { $0.key == key }?.template.value }
        var specification = SinkSpecification(
            name: sink.name, write: writeKind(section, kind), key: template("key"),
            member: template("member"),
            field: template("field"), value: template("value"), score: template("score"),
            onDelete: deletePolicy(section, kind), line: sink.position.line)
        specification.ttl = sink.ttl?.value
        specification.removesFiltered = section.choice("on_filtered", default: Filtered.delete) != .keep
        // The pipeline's name is put in when it is known.
        if section.choice("envelope", default: YesOrNo.false) == .true { specification.envelope = "" }
        return specification
    }

    private enum Filtered: String, CaseIterable {
        case delete, keep
    }

    private func templates(_ section: Section) -> [(key: String, template: Located<Template>)] {
        SinkReader.templateKeys.compactMap { key in
            guard let node = section.node(key) else { return nil }
            let text = key == "value" ? context.optionalText(node, key) : context.text(node, key)
            guard let text, let template = context.template(text) else { return nil }
            if key == "score", template.references.isEmpty, !FieldType.number.accepts(text.value) {
                context.error(
                    text.position, "score is no number: '\(text.value)'",
                    fix: "write one, or a template that gives one: \"{ts_ms}\"")
            }
            return (key, Located(value: template, position: text.position))
        }
    }

    private func writeKind(_ section: Section, _ kind: Kind) -> WriteKind {
        switch kind {
        case .stream: .stream(streamOptions(section))
        case .string: .string
        case .hash: .hash
        case .set: .set
        case .sortedSet: .sortedSet
        case .children: .children
        case .stdout: .stdout
        }
    }

    private func streamOptions(_ section: Section) -> StreamOptions {
        var options = StreamOptions(id: section.choice("id", default: .offset) ?? .offset)
        if section.node("minid") != nil, section.node("maxlen") != nil {
            section.refuse("minid", "cannot stand beside 'maxlen'")
            return options
        }
        if let age = section.milliseconds("minid", in: 1...(1 << 50), context: context) {
            options.trim = .age(milliseconds: age)
        }
        if let text = section.text("maxlen") {
            let approximate = text.value.hasPrefix("~")
            let digits = text.value.dropFirst(approximate ? 1 : 0)
            if digits.allSatisfy({ $0.isASCII && $0.isNumber }), let length = Int64(digits), length > 0 {
                options.trim = .length(length, approximate: approximate)
            } else {
                context.error(
                    text.position, "maxlen is no number of entries: '\(text.value)'",
                    fix: "write ~1000000 (about, and cheap) or 1000000 (exactly)")
            }
        }
        return options
    }

    private func deletePolicy(_ section: Section, _ kind: Kind) -> DeletePolicy {
        let policy = section.choice("on_delete", default: DeletePolicy.delete) ?? .delete
        if policy == .tombstone, kind == .set || kind == .sortedSet || kind == .children,
            let node = section.node("on_delete")
        {
            context.error(
                node.position, "a member cannot be a tombstone: it is in the \(kind.rawValue) or it is not",
                fix: "write delete or keep")
        }
        return policy
    }

    private func redisURL(_ section: Section, _ kind: Kind) -> String? {
        guard kind != .stdout,
            let text = section.required("redis", example: "\"redis://127.0.0.1:6379/0\"")
                .flatMap({ context.text($0, "redis") })
        else { return nil }
        let scheme = text.value.firstRange(of: "://").map { String(text.value[..<$0.lowerBound]) }
        let fix =
            "write redis://user:password@host:port/database, redis+unix:///path/to/socket, "
            + "redis+sentinel://host:port,host:port/master/database or redis+cluster://host:port,host:port; "
            + "rediss for TLS"
        switch scheme {
        case "redis", "redis+unix", "redis+sentinel", "redis+cluster", "rediss", "rediss+sentinel",
            "rediss+cluster":
            if let problem = ServerAddress.problem(inRedisURL: text.value) {
                context.error(text.position, "the Redis URL \(problem)", fix: fix)
            }
        default:
            context.error(text.position, "this is no Redis URL: it does not begin with redis://", fix: fix)
        }
        return text.value
    }
}
