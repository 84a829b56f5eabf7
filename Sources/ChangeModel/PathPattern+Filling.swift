extension PathPattern {
    /// The one path that the pattern matches with these captures; `nil` where a wildcard without a name leaves it open,
    /// a capture has no value here, or no node can have such a path.
    public func path(filling captures: [String: String]) -> String? {
        var path = ""
        for segment in segments {
            guard let text = segment.text(filling: captures) else { return nil }
            path += "/" + text
        }
        return path.isEmpty ? "/" : path
    }

    /// Whether its captures alone tell the path.
    public var isTold: Bool {
        segments.allSatisfy { segment in
            switch segment {
            case .one(let pieces): !pieces.contains(.any)
            case .choice: true
            case .many(let name): name != nil
            }
        }
    }
}

extension PathPattern.Segment {
    fileprivate func text(filling captures: [String: String]) -> String? {
        switch self {
        case .one(let pieces):
            var text = ""
            for piece in pieces {
                switch piece {
                case .literal(let literal): text += literal
                case .any: return nil
                case .capture(let name):
                    guard let value = captures[name] else { return nil }
                    text += value
                }
            }
            return PathPattern.isSegment(text) ? text : nil
        case .choice(let name, let options):
            return captures[name].flatMap { options.contains($0) ? $0 : nil }
        case .many(let name):
            guard let name, let value = captures[name],
                value.split(separator: "/", omittingEmptySubsequences: false).map(String.init).allSatisfy(
                    PathPattern.isSegment)
            else { return nil }
            return value
        }
    }
}

extension PathPattern {
    /// Whether a node may be named so.
    fileprivate static func isSegment(_ text: String) -> Bool {
        !text.isEmpty && text != "." && text != ".." && !text.utf8.contains(UInt8(ascii: "/"))
            && !text.utf8.contains(0)
    }

    /// Whether a node may have this path.
    public static func isNodePath(_ path: String) -> Bool {
        path == "/"
            || path.utf8.first == UInt8(ascii: "/")
                && path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
                    .allSatisfy { isSegment(String($0)) }
    }
}
