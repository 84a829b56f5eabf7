/// An error reply. It concerns one command; the connection goes on.
public struct RedisServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The whole text, prefix included. Servers quote arguments in some of them.
    public let message: String

    public init(message: String) {
        self.message = message
    }

    public var description: String { message }

    /// The first word, by which programs tell errors apart; `unknown` where the text does not start with a
    /// word of capital letters, digits and underscores.
    public var prefix: Prefix {
        let word = message.utf8.prefix { $0 != UInt8(ascii: " ") }
        let isPrefix =
            !word.isEmpty
            && word.allSatisfy { byte in
                (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
            }
        return isPrefix ? Prefix(rawValue: String(Substring(word))) : .unknown
    }

    /// Where a `MOVED` or `ASK` sends us: the hash slot and `host:port`. The host is empty where the server
    /// means the one that it was asked by.
    public var redirection: (slot: Int, address: String)? {
        guard prefix == .moved || prefix == .ask else { return nil }
        let words = message.split(separator: " ")
        guard words.count >= 3, let slot = Int(words[1]), (0..<16_384).contains(slot), words[2].contains(":")
        else {
            return nil
        }
        return (slot, String(words[2]))
    }

    /// The first word of an error's text.
    public struct Prefix: Sendable, Hashable, RawRepresentable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        public static let ask = Prefix(rawValue: "ASK")
        public static let busy = Prefix(rawValue: "BUSY")
        public static let busygroup = Prefix(rawValue: "BUSYGROUP")
        public static let busykey = Prefix(rawValue: "BUSYKEY")
        public static let clusterdown = Prefix(rawValue: "CLUSTERDOWN")
        public static let crossslot = Prefix(rawValue: "CROSSSLOT")
        public static let err = Prefix(rawValue: "ERR")
        public static let execabort = Prefix(rawValue: "EXECABORT")
        public static let loading = Prefix(rawValue: "LOADING")
        public static let masterdown = Prefix(rawValue: "MASTERDOWN")
        public static let misconf = Prefix(rawValue: "MISCONF")
        public static let moved = Prefix(rawValue: "MOVED")
        public static let noauth = Prefix(rawValue: "NOAUTH")
        public static let nogroup = Prefix(rawValue: "NOGROUP")
        public static let noperm = Prefix(rawValue: "NOPERM")
        public static let noproto = Prefix(rawValue: "NOPROTO")
        public static let noreplicas = Prefix(rawValue: "NOREPLICAS")
        public static let oom = Prefix(rawValue: "OOM")
        public static let readonly = Prefix(rawValue: "READONLY")
        public static let tryagain = Prefix(rawValue: "TRYAGAIN")
        public static let wrongpass = Prefix(rawValue: "WRONGPASS")
        public static let wrongtype = Prefix(rawValue: "WRONGTYPE")
        /// The text has no prefix.
        public static let unknown = Prefix(rawValue: "")
    }
}
