/// Reads `quorum:` of `source.zookeeper`: a text with the quorum ports, or a mapping.
struct QuorumReader {
    typealias Quorum = ZooKeeperSourceDefinition.Quorum

    let context: LoadContext

    /// `nil` where it is wrong, which is reported, or not asked for.
    func read(_ source: Section, _ capture: ZooKeeperSourceDefinition.Capture) -> Quorum? {
        guard capture != .watch else {
            if let node = source.node("quorum") {
                context.error(
                    node.position, "quorum is for capture: observer and capture: auto",
                    fix: "write capture: observer, or leave quorum out")
            }
            return nil
        }
        guard let node = source.node("quorum") else { return Quorum() }
        guard case .mapping = node.content else {
            return ports(node, "quorum", of: "server.N in the servers' zoo.cfg").map { Quorum(servers: $0) }
        }
        guard
            let section = Section(
                node, "quorum", at: source.position(of: "quorum"),
                keys: ["servers", "observer_masters", "credentials", "tls"], context: context)
        else { return nil }
        let servers = section.node("servers").flatMap {
            ports($0, "servers", of: "server.N in the servers' zoo.cfg")
        }
        let masters = section.node("observer_masters").flatMap {
            ports($0, "observer_masters", of: "observerMasterPort in the followers' zoo.cfg")
        }
        let credentials = section.node("credentials").flatMap(self.credentials)
        let tls = section.node("tls").flatMap { self.tls($0, at: section.position(of: "tls")) }
        return Quorum(
            servers: servers, observerMasters: masters, credentials: credentials, tls: tls)
    }

    private func ports(_ node: Node, _ what: String, of setting: String) -> String? {
        guard let text = context.text(node, what) else { return nil }
        let fix =
            "write host:port,host:port with the \(what == "observer_masters" ? "" : "first ")port of \(setting)"
        if text.value.contains("/") {
            context.error(text.position, "\(what) has a path; connect has the chroot", fix: fix)
            return nil
        }
        if let problem = ServerAddress.problem(inConnectString: text.value) {
            context.error(text.position, "\(what): \(problem)", fix: fix)
            return nil
        }
        // There is no usual port, and that of clients answers otherwise.
        let hosts = text.value.split(separator: ",")
        if let host = hosts.first(where: {
            !$0.drop { $0 != "]" }.contains(":") && ($0.hasSuffix("]") || !$0.contains(":"))
        }) {
            context.error(text.position, "\(what): \(host) has no port", fix: fix)
            return nil
        }
        return text.value
    }

    /// `nil` for an empty text too: a variable that is not set.
    private func credentials(_ node: Node) -> String? {
        guard let text = context.optionalText(node, "credentials"), !text.value.isEmpty else { return nil }
        guard let colon = text.value.firstIndex(of: ":"), colon > text.value.startIndex else {
            context.error(
                text.position, "credentials have no user before a ':'",
                fix: "write user:password as QuorumServer in the servers' JAAS file has them")
            return nil
        }
        return text.value
    }

    private func tls(_ node: Node, at position: Position) -> Quorum.TLS? {
        guard
            let section = Section(
                node, "quorum.tls", at: position, keys: ["ca", "cert", "key"], context: context)
        else { return nil }
        let ca = section.text("ca")?.value
        // The ensemble asks every learner for one.
        let cert = section.required("cert", example: "observer.pem").flatMap { context.text($0, "cert") }
        let key = section.required("key", example: "observer.key").flatMap { context.text($0, "key") }
        guard let cert, let key else { return nil }
        return Quorum.TLS(ca: ca, cert: cert.value, key: key.value)
    }
}
