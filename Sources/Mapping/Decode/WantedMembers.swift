/// Which members of a document a rule looks at: the others are checked and not made values of.
enum WantedMembers: Sendable, Equatable {
    case all
    case named([Bytes])

    /// Those that references lead to; all where one means the document itself.
    init(_ references: [BoundReference]) {
        var names: [Bytes] = []
        for case .value(let steps) in references {
            guard let first = steps.first else {
                self = .all
                return
            }
            // A name may have dots of its own, as `Value.member(at:)` finds it.
            for name in [first, steps.joined(separator: ".")] {
                let bytes = Bytes(name.utf8)
                guard bytes.allSatisfy({ $0 < 0x80 }) else {
                    self = .all
                    return
                }
                if !names.contains(bytes) { names.append(bytes) }
            }
        }
        self = .named(names)
    }

    /// `nil`: all.
    var count: Int? { if case .named(let names) = self { names.count } else { nil } }

    /// Beyond ASCII, other bytes may be the same name.
    func contains(_ name: UnsafeRawBufferPointer) -> Bool {
        guard case .named(let names) = self else { return true }
        for index in names.indices where names[index].count == name.count {
            if names[index].elementsEqual(name) { return true }
        }
        return name.contains { $0 >= 0x80 }
    }
}
