import Foundation

extension Value {
    /// The parts of a URL, without those that it does not have, percent escapes resolved.
    static func url(_ bytes: Bytes) throws(MappingFault) -> Value {
        guard let text = String(validating: bytes, as: UTF8.self), let url = URLComponents(string: text)
        else {
            throw .undecodable("the data is not a valid URL")
        }
        let parts: [(String, String?)] = [
            ("scheme", url.scheme), ("user", url.user), ("password", url.password), ("host", url.host),
            ("path", url.path), ("fragment", url.fragment),
        ]
        var members = parts.compactMap { name, part in
            part.map { ObjectValue.Member(name: name, value: .text($0)) }
        }
        if let port = url.port { members.append(.init(name: "port", value: .integer(Int64(port)))) }
        let parameters = (url.queryItems ?? []).map { item in
            ObjectValue.Member(name: item.name, value: .text(item.value ?? ""))
        }
        members.append(.init(name: "query", value: .object(ObjectValue(parameters))))
        return .object(ObjectValue(members))
    }
}

extension Decoding {
    /// The bytes that base64 text (RFC 4648 section 4, padded) stands for; white space is ignored.
    static func base64(_ text: Bytes) -> Bytes? {
        let digits = text.filter { $0 != 0x20 && !(0x09...0x0d).contains($0) }
        return Data(base64Encoded: Data(digits)).map(Bytes.init)
    }
}
