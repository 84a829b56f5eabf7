import Engine
import Mapping
import RedisClient

/// The stream IDs that replayed dead letters take, chosen once for a transaction and kept through its attempts: what
/// is sent twice is recognised by them.
struct ReplayPlacements {
    /// One letter's entries in one stream.
    struct Place: Equatable {
        var number: Int64
        var offset: Int64
        /// Of the first entry; further ones follow it.
        var id: StreamID
        var key: Bytes
    }

    /// The batch that this is made for.
    let letters: [Int64]
    private(set) var places: [Place] = []
    private var ids: [Slot: StreamID] = [:]

    private struct Slot: Hashable {
        var offset: Int64
        var key: Bytes
    }

    /// - Parameter free: the lowest free ID of each stream that the batch writes.
    init(_ batch: MappedBatch, free: [Bytes: StreamID]) {
        letters = batch.letters
        var free = free
        for (change, number) in zip(batch.changes, batch.letters) {
            for case .streamAdd(let key, _) in change.writes {
                guard let id = free[key] else { continue }
                free[key] = id.next
                guard ids[Slot(offset: change.offset, key: key)] == nil else { continue }
                ids[Slot(offset: change.offset, key: key)] = id
                places.append(Place(number: number, offset: change.offset, id: id, key: key))
            }
        }
    }

    /// The ID of a change's entry, counted from 0, in a stream.
    func id(offset: Int64, key: Bytes, entry: UInt64) -> StreamID? {
        guard var id = ids[Slot(offset: offset, key: key)] else { return nil }
        for _ in 0..<entry { id = id.next }
        return id
    }

    /// The checkpoint's field `r`: per place a line `<letter> <offset> <id> <bytes of the key> <key>`.
    var record: Bytes { record { _ in true } }

    /// The same of the letters that go, at least in part, into some streams: a letter is written when all of it is.
    func record(of isWanted: (Bytes) -> Bool) -> Bytes {
        let letters = Set(places.filter { isWanted($0.key) }.map(\.number))
        var bytes: Bytes = []
        for place in places where letters.contains(place.number) {
            bytes += "\(place.number) \(place.offset) \(place.id.text) \(place.key.count) ".utf8
            bytes += place.key
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    /// Reads a record back, up to where it is not of this form.
    static func parse(_ record: Bytes) -> [Place] {
        var places: [Place] = []
        var rest = record[...]
        func word() -> String? {
            guard let space = rest.firstIndex(of: UInt8(ascii: " ")) else { return nil }
            defer { rest = rest[(space + 1)...] }
            return String(validating: rest[..<space], as: UTF8.self)
        }
        while let number = word().flatMap({ Int64($0) }), let offset = word().flatMap({ Int64($0) }),
            let id = word().flatMap({ StreamID($0) }), let count = word().flatMap({ Int($0) }),
            count >= 0, count < rest.count
        {
            places.append(Place(number: number, offset: offset, id: id, key: Bytes(rest.prefix(count))))
            rest = rest.dropFirst(count + 1)
        }
        return places
    }
}
