import ChangeModel
import Mapping

/// What a znode's write leaves in Redis: a key, or a field, member or item of one.
struct OwnedAddress: Hashable, Sendable {
    enum Kind: UInt8 {
        case key = 1
        case hashField, member, scoredMember, listItem
    }

    var kind: Kind
    var key: Bytes
    /// Empty for a whole key.
    var part: Bytes = []

    /// What a write leaves; `nil` where that is nothing, or in a stream.
    init?(_ write: SinkWrite) {
        switch write {
        case .setString(let key, _), .replaceHash(let key, _): self.init(kind: .key, key: key)
        case .setHashField(let key, let part, _): self.init(kind: .hashField, key: key, part: part)
        case .addMember(let key, let part): self.init(kind: .member, key: key, part: part)
        case .addScoredMember(let key, let part, _): self.init(kind: .scoredMember, key: key, part: part)
        case .addListItem(let key, let part): self.init(kind: .listItem, key: key, part: part)
        case .expiring(let write, _): self.init(write)
        case .streamAdd, .removeHashField, .removeMember, .removeScoredMember, .removeListItem, .deleteKey,
            .release, .envelope:
            return nil
        }
    }

    init(kind: Kind, key: Bytes, part: Bytes = []) {
        self.kind = kind
        self.key = key
        self.part = part
    }

    /// What takes it away.
    var removal: SinkWrite {
        switch kind {
        case .key: .deleteKey(key: key)
        case .hashField: .removeHashField(key: key, field: part)
        case .member: .removeMember(key: key, member: part)
        case .scoredMember: .removeScoredMember(key: key, member: part)
        case .listItem: .removeListItem(key: key, item: part)
        }
    }
}

/// As Redis keeps them: one behind the other, each its kind (a byte), key and part (behind their lengths).
extension OwnedAddress {
    var record: Bytes { OwnedAddress.record([self]) }

    static func record(_ addresses: [OwnedAddress]) -> Bytes {
        var bytes: Bytes = []
        for address in addresses {
            bytes.append(address.kind.rawValue)
            bytes.appendCounted(address.key)
            bytes.appendCounted(address.part)
        }
        return bytes
    }

    /// `nil` for a record that is none.
    static func parse(_ record: Bytes) -> [OwnedAddress]? {
        var reader = ByteReader(record[...])
        var addresses: [OwnedAddress] = []
        while !reader.isAtEnd {
            guard let address = OwnedAddress(&reader) else { return nil }
            addresses.append(address)
        }
        return addresses
    }

    /// The next one; `nil` where there is none.
    init?(_ reader: inout ByteReader) {
        guard let byte = try? reader.integer(UInt8.self), let kind = Kind(rawValue: byte),
            let key = try? reader.countedBytes(), let part = try? reader.countedBytes()
        else { return nil }
        self.init(kind: kind, key: Bytes(key), part: Bytes(part))
    }
}
