import ChangeModel

/// Reads `source:`.
struct SourceReader {
    let context: LoadContext

    private static let keys = [
        "connect", "paths", "exclude", "capture", "quorum", "snapshot", "session_timeout", "auth",
        "before",
    ]

    /// `nil` where something needed is missing or wrong; all of it is reported.
    func read(_ root: Section) -> ZooKeeperSourceDefinition? {
        guard let node = root.required("source", example: "{zookeeper: {connect: …, paths: […]}}"),
            let source = Section(
                node, "source", at: root.position(of: "source"), keys: ["zookeeper"], context: context),
            let zookeeper = source.required("zookeeper", example: "{connect: …, paths: […]}"),
            let section = Section(
                zookeeper, "source.zookeeper", at: source.position(of: "zookeeper"), keys: SourceReader.keys,
                context: context)
        else { return nil }
        let connect = connect(section)
        let paths = paths(section)
        let exclude = exclude(section, paths: paths ?? [])
        let capture =
            section.choice("capture", default: ZooKeeperSourceDefinition.Capture.watch) ?? .watch
        let quorum = QuorumReader(context: context).read(section, capture)
        let snapshot =
            section.choice("snapshot", default: ZooKeeperSourceDefinition.Snapshot.initial) ?? .initial
        let timeout = section.milliseconds("session_timeout", in: 100...3_600_000, context: context) ?? 10_000
        let auth = authentication(section)
        guard let connect, let paths else { return nil }
        return ZooKeeperSourceDefinition(
            connect: connect, paths: paths, exclude: exclude, capture: capture, quorum: quorum,
            snapshot: snapshot,
            sessionTimeoutMilliseconds: Int(timeout), auth: auth,
            tellsBefore: section.choice("before", default: YesOrNo.false) == .true)
    }

    private func connect(_ section: Section) -> String? {
        guard let node = section.required("connect", example: "\"127.0.0.1:2181\""),
            let text = context.text(node, "connect")
        else { return nil }
        if let problem = ServerAddress.problem(inConnectString: text.value) {
            context.error(text.position, "connect: \(problem)", fix: "write host:port,host:port/chroot")
            return nil
        }
        return text.value
    }

    private func paths(_ section: Section) -> [String]? {
        guard let node = section.required("paths", example: "[/services]"),
            let items = context.list(node, "paths", example: "[/services]")
        else { return nil }
        guard !items.isEmpty else {
            context.error(node.position, "paths is empty", fix: "write [/] for the whole tree")
            return nil
        }
        let paths = items.compactMap { item -> String? in
            guard let text = context.text(item, "a path") else { return nil }
            if let problem = ServerAddress.problem(inPath: text.value) {
                context.error(
                    text.position, "the path '\(text.value)' \(problem)", fix: "write for example /services")
                return nil
            }
            return text.value.count > 1 && text.value.hasSuffix("/")
                ? String(text.value.dropLast()) : text.value
        }
        return paths.count == items.count ? SourceReader.merged(paths) : nil
    }

    /// Sorted, and without those that lie inside another.
    static func merged(_ paths: [String]) -> [String] {
        if paths.contains("/") { return ["/"] }
        // With a slash behind it, a path sorts right before all that lies inside it.
        var result: [String] = []
        for path in Set(paths).sorted(by: { $0 + "/" < $1 + "/" }) {
            if let last = result.last, isInside(path, last) { continue }
            result.append(path)
        }
        return result.sorted()
    }

    /// Whether a path is the root of a subtree or lies in it.
    static func isInside(_ path: String, _ subtree: String) -> Bool {
        subtree == "/" || path == subtree || path.hasPrefix(subtree + "/")
    }

    private func exclude(_ section: Section, paths: [String]) -> [PathPattern] {
        var patterns: [PathPattern] = []
        if let node = section.node("exclude") {
            for item in context.list(node, "exclude", example: "[\"/services/**/lock-*\"]") ?? [] {
                guard let text = context.text(item, "a pattern of exclude") else { continue }
                if let pattern = context.pattern(text) { patterns.append(pattern) }
            }
        }
        let asksForOwnTree = paths.contains { SourceReader.isInside($0, "/zookeeper") }
        if !asksForOwnTree, let own = try? PathPattern("/zookeeper") { patterns.append(own) }
        return patterns
    }

    private func authentication(_ section: Section) -> ZooKeeperSourceDefinition.Authentication? {
        guard let node = section.node("auth"),
            let auth = Section(
                node, "auth", at: section.position(of: "auth"), keys: ["scheme", "credentials"],
                context: context)
        else { return nil }
        if let scheme = auth.required("scheme", example: "digest").flatMap({ context.text($0, "scheme") }),
            scheme.value != "digest"
        {
            context.unsupported(scheme.position, "the scheme '\(scheme.value)'", fix: "write digest")
        }
        guard
            let credentials = auth.required("credentials", example: "\"${ZK_AUTH:}\"")
                .flatMap({ context.optionalText($0, "credentials") }), !credentials.value.isEmpty
        else { return nil }
        guard credentials.value.contains(":") else {
            context.error(credentials.position, "credentials have no ':'", fix: "write user:password")
            return nil
        }
        return .init(scheme: "digest", credentials: credentials.value)
    }
}

extension LoadContext {
    /// A path pattern; reported where it is none.
    func pattern(_ text: Located<String>) -> PathPattern? {
        do {
            return try PathPattern(text.value)
        } catch {
            self.error(
                text.position, "the pattern '\(text.value)': \(error.message)",
                fix: "write for example /services/{service}/* or /services/**")
            return nil
        }
    }
}
