/// Where to listen, as the command line names it.
public struct HTTPAddress: Sendable, Hashable, CustomStringConvertible {
    public var host: String
    /// 0: any that is free.
    public var port: Int

    private static let loopback = "127.0.0.1"

    /// `8080` and `:8080` (of this machine alone), `host:port`, `[::1]:8080`. Everyone is let in only where the host says so
    /// (`0.0.0.0`).
    public init?(_ text: String) {
        var host = Substring()
        var port = text[...]
        if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        guard !port.isEmpty, port.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
            let number = UInt16(port)
        else { return nil }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.contains(where: { $0.isWhitespace || "/[]".contains($0) }) else { return nil }
        self.host = host.isEmpty ? HTTPAddress.loopback : String(host)
        self.port = Int(number)
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
