internal import NIOCore

/// The quorum ports that a configuration of the ensemble names, as NEWLEADER and `/zookeeper/config` carry it: lines
/// of `server.N=host:quorum:election[:role][;…]`, where 3.6 and later allow several addresses with `|` between them.
///
/// An address that means every address of the host that wrote it (`0.0.0.0`) would mean ourselves here, and is left out.
enum QuorumMembers {
    /// An ensemble has a handful; what claims more is not taken.
    private static let limit = 256

    static func parse(_ configuration: some Sequence<UInt8>) -> [ZooKeeperAddress] {
        var members: [ZooKeeperAddress] = []
        for line in String(decoding: Array(configuration), as: UTF8.self).split(whereSeparator: \.isNewline) {
            guard line.hasPrefix("server."), let equals = line.firstIndex(of: "=") else { continue }
            let value = line[line.index(after: equals)...].prefix { $0 != ";" }
            for address in value.split(separator: "|") {
                guard members.count < limit, let member = parse(address: address) else { continue }
                if !members.contains(member) { members.append(member) }
            }
        }
        return members
    }

    private static func parse(address: Substring) -> ZooKeeperAddress? {
        var rest = address
        let host: Substring
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            host = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
        } else {
            host = rest.prefix { $0 != ":" }
            rest = rest[host.endIndex...]
        }
        let ports = rest.split(separator: ":")
        guard !host.isEmpty, host != "0.0.0.0", host != "::", let first = ports.first,
            let port = UInt16(first), port > 0
        else { return nil }
        return ZooKeeperAddress(host: String(host), port: Int(port))
    }
}
