import Foundation
import Mapping
import RedisClient

/// A list of children as a string holds it: a sorted JSON array of texts.
enum ChildrenList {
    /// How long the key is kept.
    enum Lifetime: Equatable {
        case forever, unchanged
        case milliseconds(Int64)
    }

    static let isNone = RedisServerError(message: "the key holds no list of children")

    /// `nil` for what is no list.
    static func items(_ bytes: Bytes) -> Set<String>? {
        (try? JSONDecoder().decode([String].self, from: Data(bytes))).map(Set.init)
    }

    /// `nil` where there is no item.
    static func text(_ items: Set<String>) -> Bytes? {
        let items = items.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        guard !items.isEmpty, let json = try? encoder.encode(items) else { return nil }
        return Bytes(json)
    }
}
