/// A part of a definition, with the place where it begins.
struct Node: Sendable {
    var position: Position
    var content: Content

    enum Content: Sendable {
        /// `plain` is text without quotes.
        case scalar(String, plain: Bool)
        case list([Node])
        case mapping([Entry])
    }

    struct Entry: Sendable {
        var key: String
        var position: Position
        var value: Node
    }

    /// What it is, for error messages.
    var kind: String {
        switch content {
        case .scalar where isEmpty: "nothing"
        case .scalar: "text"
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }

    /// `key:` with nothing behind it.
    var isEmpty: Bool {
        if case .scalar(let text, plain: true) = content { text.isEmpty || text == "~" } else { false }
    }
}

/// A value and the place that it comes from.
struct Located<Value: Sendable>: Sendable {
    var value: Value
    var position: Position

    func map<Other>(_ transform: (Value) -> Other) -> Located<Other> {
        Located<Other>(value: transform(value), position: position)
    }
}
