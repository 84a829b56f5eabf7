import Engine
import Mapping
import RedisClient

/// What Redis remembers for a sink whose keys, members or fields the znodes' paths do not decide, as far as a batch
/// has to do with it.
///
/// | key beside the checkpoint | field | value |
/// |---|---|---|
/// | `<checkpoint>:paths` | the path | what its node has written |
/// | `<checkpoint>:owners` | one such thing | how many nodes have written it |
///
/// Both are written in the transaction of the data and the checkpoint, and so go back with them. The checkpoint's watch
/// guards what is read of them: whoever else writes them writes it, too.
struct OwnedState {
    /// `nil`: paths decide, and nothing is remembered of them.
    let names: Names?
    var paths: [String: [OwnedAddress]] = [:]
    var owners: [OwnedAddress: Int64] = [:]
    /// Paths and things that Redis remembers, those of the batch included.
    var counts = (paths: Int64(0), owners: Int64(0))
    /// The items of lists that the batch changes.
    var lists: [Bytes: Set<String>] = [:]
    /// Lists that cannot be read, and why.
    var refusedLists: [Bytes: RedisServerError] = [:]

    struct Names {
        let paths: String
        let owners: String

        init(checkpoint: String) {
            paths = checkpoint + ":paths"
            owners = checkpoint + ":owners"
        }
    }

    init(names: Names?) {
        self.names = names
    }

    // MARK: Reading, in two steps: what there is to know of the things follows from the paths

    /// The paths of the batch.
    static func appendRead(of paths: [String], _ names: Names, to commands: inout RedisCommandBatch) {
        commands.append(["HMGET", names.paths] + paths)
        commands.append("HLEN", names.paths)
        commands.append("HLEN", names.owners)
    }

    mutating func take(_ replies: ArraySlice<RESPValue>, paths: [String]) throws(PipelineError) {
        guard replies.count == 3, let records = replies.first?.array, records.count == paths.count,
            let pathCount = replies.dropFirst().first?.int, let ownerCount = replies.last?.int
        else { throw malformed }
        counts = (pathCount, ownerCount)
        for (path, record) in zip(paths, records) {
            switch record {
            case .null: continue
            case .bulkString(let bytes):
                guard let addresses = OwnedAddress.parse(bytes) else { throw malformed }
                self.paths[path] = addresses
            default: throw malformed
            }
        }
    }

    /// How many own these things, and the lists among them.
    static func appendRead(
        of addresses: [OwnedAddress], lists: [Bytes], _ names: Names?, to commands: inout RedisCommandBatch
    ) {
        if let names, !addresses.isEmpty {
            commands.begin(argumentCount: 2 + addresses.count)
            commands.add("HMGET" as StaticString)
            commands.add(names.owners)
            for address in addresses { commands.add(address.record) }
        }
        // Another sink may write other items of the same list meanwhile: the transaction is not executed then.
        for list in lists {
            for name: StaticString in ["WATCH", "GET"] {
                commands.begin(argumentCount: 2)
                commands.add(name)
                commands.add(list)
            }
        }
    }

    mutating func take(
        _ replies: ArraySlice<RESPValue>, addresses: [OwnedAddress], lists: [Bytes]
    ) throws(PipelineError) {
        var replies = replies
        if names != nil, !addresses.isEmpty {
            guard let numbers = replies.popFirst()?.array, numbers.count == addresses.count else {
                throw malformed
            }
            for (address, number) in zip(addresses, numbers) where number != .null {
                guard let count = number.string.flatMap({ Int64($0) }), count > 0 else { throw malformed }
                owners[address] = count
            }
        }
        guard replies.count == 2 * lists.count else { throw malformed }
        for list in lists {
            guard replies.popFirst() != nil, let reply = replies.popFirst() else { throw malformed }
            switch reply {
            case .null: self.lists[list] = []
            case .error(let error): refusedLists[list] = error
            case .bulkString(let bytes):
                if let items = ChildrenList.items(bytes) {
                    self.lists[list] = items
                } else {
                    refusedLists[list] = ChildrenList.isNone
                }
            default: throw malformed
            }
        }
    }

    private var malformed: PipelineError {
        .failed(
            "what \(names?.paths ?? "a list of children") and what belongs to it hold cannot be read as what this "
                + "sink has written")
    }
}
