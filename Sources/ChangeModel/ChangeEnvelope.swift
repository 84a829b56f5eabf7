/// The JSON form of a change: Debezium's envelope, one object without a line break.
///
/// `before` and `after` are the data as text; data that is not UTF-8 is base64, said by `"before_encoding":"base64"` and
/// `"after_encoding":"base64"`.
public enum ChangeEnvelope {
    /// - Parameter source: the pipeline's name, `source.name`.
    public static func json(of change: Change, offset: Int64, source: String) -> [UInt8] {
        var json = JSONBytes()
        json.open()
        json.field("op", change.operation.letter)
        append(change.before, "before", "before_encoding", to: &json)
        append(change.data, "after", "after_encoding", to: &json)
        json.open("source")
        json.field("connector", "zookeeper")
        json.field("name", source)
        json.field("path", change.path)
        json.field("zxid", change.zxid.value)
        if let stat = change.stat {
            json.field("czxid", stat.czxid.value)
            json.field("mzxid", stat.mzxid.value)
            json.field("version", Int64(stat.version))
            json.field("ephemeral_owner", stat.ephemeralOwner)
        }
        if let session = change.session { json.field("session", session) }
        json.field("snapshot", change.snapshot.text)
        json.close()
        json.field("ts_ms", change.timestamp)
        json.field("captured_ms", change.captured)
        json.field("index", Int64(change.index))
        json.field("offset", offset)
        json.close()
        return json.bytes
    }

    private static func append(
        _ data: [UInt8]?, _ name: String, _ encoding: String, to json: inout JSONBytes
    ) {
        guard let data else { return json.null(name) }
        if let text = String(validating: data, as: UTF8.self) {
            json.field(name, text)
        } else {
            json.field(name, base64(data))
            json.field(encoding, "base64")
        }
    }

    /// The JSON form of a gap: `op` is `gap`, and `source` tells after which transaction and up to which.
    public static func json(of gap: CaptureGap, offset: Int64, source: String) -> [UInt8] {
        var json = JSONBytes()
        json.open()
        json.field("op", "gap")
        json.open("source")
        json.field("connector", "zookeeper")
        json.field("name", source)
        json.field("after_zxid", gap.after.value)
        json.field("to_zxid", gap.upTo.value)
        json.close()
        json.field("offset", offset)
        json.close()
        return json.bytes
    }

    static func base64(_ data: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        text.reserveCapacity((data.count + 2) / 3 * 4)
        for start in stride(from: 0, to: data.count, by: 3) {
            let count = min(3, data.count - start)
            var group: UInt32 = 0
            for index in 0..<3 { group = group << 8 | (index < count ? UInt32(data[start + index]) : 0) }
            for index in 0..<4 {
                text.append(
                    index <= count ? alphabet[Int(group >> (18 - 6 * UInt32(index)) & 63)] : UInt8(ascii: "=")
                )
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
