/// What one identity may do with a node.
public struct ACL: Sendable, Hashable {
    /// `ZooDefs.Perms` in ZooKeeper's source.
    public struct Permissions: OptionSet, Sendable, Hashable {
        public var rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }

        public static let read = Permissions(rawValue: 1)
        public static let write = Permissions(rawValue: 2)
        public static let create = Permissions(rawValue: 4)
        public static let delete = Permissions(rawValue: 8)
        public static let admin = Permissions(rawValue: 16)
        public static let all = Permissions(rawValue: 31)
    }

    public var permissions: Permissions
    /// `world`, `auth`, `digest`, `ip`, …
    public var scheme: String
    public var id: String

    public init(_ permissions: Permissions, scheme: String, id: String) {
        self.permissions = permissions
        self.scheme = scheme
        self.id = id
    }

    /// Everybody may do everything.
    public static let open = [ACL(.all, scheme: "world", id: "anyone")]
    /// Everybody may read.
    public static let readOnly = [ACL(.read, scheme: "world", id: "anyone")]
    /// Those as whom this session is authenticated may do everything.
    public static let creatorAll = [ACL(.all, scheme: "auth", id: "")]
}
