import Glibc

/// The members of an object, sorted by name byte by byte, each name once.
struct ObjectValue: Sendable, Hashable {
    struct Member: Sendable, Hashable {
        var name: String
        var value: Value
    }

    private(set) var members: [Member]

    /// Members in the order of the document; of those with one name the last counts.
    init(_ unsorted: [Member]) {
        members = unsorted
        sort()
    }

    init() {
        members = []
    }

    subscript(name: String) -> Value? {
        get {
            // Objects are small: in order, comparing short names as words, is quicker than halving.
            if members.count <= 12 {
                for index in members.indices where members[index].name == name {
                    return members[index].value
                }
                return nil
            }
            let index = place(of: name)
            return index < members.count && members[index].name == name ? members[index].value : nil
        }
        set {
            let index = place(of: name)
            let isThere = index < members.count && members[index].name == name
            switch (isThere, newValue) {
            case (true, let value?): members[index].value = value
            case (true, nil): members.remove(at: index)
            case (false, let value?): members.insert(Member(name: name, value: value), at: index)
            case (false, nil): break
            }
        }
    }

    private func place(of name: String) -> Int {
        var low = 0
        var high = members.count
        while low < high {
            let middle = (low + high) / 2
            if ObjectValue.precedes(members[middle].name, name) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private mutating func sort() {
        guard members.count > 1 else { return }
        if members.count > 16 {
            let ordered = members.enumerated().sorted { left, right in
                if left.element.name == right.element.name { return left.offset < right.offset }
                return ObjectValue.precedes(left.element.name, right.element.name)
            }
            members = ordered.map(\.element)
        } else {
            for index in members.indices.dropFirst() {
                var place = index
                while place > 0, ObjectValue.precedes(members[place].name, members[place - 1].name) {
                    members.swapAt(place, place - 1)
                    place -= 1
                }
            }
        }
        removeDuplicates()
    }

    /// Of equal neighbours the last stays.
    private mutating func removeDuplicates() {
        var hasDuplicates = false
        for index in members.indices.dropFirst() where members[index].name == members[index - 1].name {
            hasDuplicates = true
        }
        guard hasDuplicates else { return }
        members = members.indices.filter { index in
            index + 1 == members.count || members[index].name != members[index + 1].name
        }.map { members[$0] }
    }

    private static func precedes(_ left: String, _ right: String) -> Bool {
        let isBefore = left.utf8.withContiguousStorageIfAvailable { left in
            right.utf8.withContiguousStorageIfAvailable { right in
                guard let first = left.baseAddress, let second = right.baseAddress else {
                    return left.count < right.count
                }
                let order = memcmp(first, second, min(left.count, right.count))
                return order == 0 ? left.count < right.count : order < 0
            }
        }
        if let isBefore, let isBefore { return isBefore }
        return left.utf8.lexicographicallyPrecedes(right.utf8)
    }
}
