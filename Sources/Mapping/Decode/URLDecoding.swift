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
