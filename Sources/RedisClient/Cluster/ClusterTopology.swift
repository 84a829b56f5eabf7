/// Which node serves which hash slot, as far as it is known. A value: it changes only in its owner's hands.
///
/// A node is known by its address. Its id, where the cluster has told it, tells apart nodes that have had the
/// same address one after the other.
public struct ClusterTopology: Sendable, Equatable {
    public struct Node: Sendable, Hashable {
        public let address: RedisEndpoint.Address
        /// `nil` for a node of which only a redirection has told.
        public let id: String?

        public init(address: RedisEndpoint.Address, id: String? = nil) {
            self.address = address
            self.id = id
        }
    }

    /// The nodes that own slots, sorted by address.
    public private(set) var masters: [Node]
    private var replicasByMaster: [RedisEndpoint.Address: [Node]]
    /// For each slot the position of its master, or `nobody`.
    private var owners: [UInt16]

    private static let nobody = UInt16.max

    /// - Parameter owners: the master of each of the 16,384 slots.
    init(owners: [Node?], replicas: [RedisEndpoint.Address: [Node]]) {
        // Where two nodes have one address, the first one's id stands for both.
        var nodes: [RedisEndpoint.Address: Node] = [:]
        // Slots come in long ranges: most have the owner of the one before.
        var last: Node?
        for owner in owners where owner != last {
            last = owner
            if let owner, nodes[owner.address] == nil { nodes[owner.address] = owner }
        }
        masters = nodes.values.sorted { $0.address.description < $1.address.description }
        var positions: [RedisEndpoint.Address: UInt16] = [:]
        for (position, node) in masters.enumerated() { positions[node.address] = UInt16(position) }
        last = nil
        var position = ClusterTopology.nobody
        self.owners = owners.map { owner in
            if owner != last {
                last = owner
                position = owner.flatMap { positions[$0.address] } ?? ClusterTopology.nobody
            }
            return position
        }
        replicasByMaster = replicas.filter { positions[$0.key] != nil && !$0.value.isEmpty }
            .mapValues { $0.sorted { $0.address.description < $1.address.description } }
    }

    /// `nil` where nobody is known to serve the slot.
    public func master(of slot: HashSlot) -> Node? {
        let position = owners[slot.number]
        return position == ClusterTopology.nobody ? nil : masters[Int(position)]
    }

    /// Sorted by address. The cluster does not tell of replicas that have failed, or that have received
    /// nothing yet.
    public func replicas(of master: Node) -> [Node] {
        replicasByMaster[master.address] ?? []
    }

    /// In ascending order.
    public func slots(of master: Node) -> [HashSlot] {
        guard let position = masters.firstIndex(where: { $0.address == master.address }) else { return [] }
        return owners.indices.lazy.filter { owners[$0] == UInt16(position) }.compactMap { HashSlot($0) }
    }

    /// Slots that somebody serves.
    public var coveredSlots: Int {
        owners.reduce(into: 0) { if $1 != ClusterTopology.nobody { $0 += 1 } }
    }

    /// The slots whose owner is another node than in `older`, or that have won or lost their owner. In
    /// ascending order.
    public func slots(changedSince older: ClusterTopology) -> [HashSlot] {
        HashSlot.all.filter { slot in
            switch (master(of: slot), older.master(of: slot)) {
            case (nil, nil): false
            case (let new?, let old?): !new.isSame(as: old)
            default: true
            }
        }
    }

    func hasSameOwners(as other: ClusterTopology) -> Bool {
        masters == other.masters && owners == other.owners
    }

    /// Notes what `MOVED` says of one slot; the other slots stay where they are.
    public mutating func move(_ slot: HashSlot, to address: RedisEndpoint.Address) {
        guard master(of: slot)?.address != address else { return }
        var nodes = owners.map { $0 == ClusterTopology.nobody ? nil : masters[Int($0)] }
        let known = masters + replicasByMaster.values.flatMap { $0 }
        nodes[slot.number] = known.first { $0.address == address } ?? Node(address: address)
        // Who owns a slot is no replica any more.
        let replicas = replicasByMaster.mapValues { $0.filter { $0.address != address } }
        self = ClusterTopology(owners: nodes, replicas: replicas)
    }
}

extension ClusterTopology.Node {
    fileprivate func isSame(as other: ClusterTopology.Node) -> Bool {
        guard let id, let otherID = other.id else { return address == other.address }
        return address == other.address && id == otherID
    }
}
