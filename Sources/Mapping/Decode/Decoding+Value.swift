import Gzip
import LZ4
import Zstd

/// Why a change cannot be mapped, before it is known which rule and field asked.
enum MappingFault: Error, Equatable {
    case undecodable(String)
    case missing(String)
    case wrongType(String)
    case wrongShape(String)
    case jq(String)
    case unavailable(String)
}

extension Decoding {
    /// Decodes a znode's data. No data at all is null for what would have to be parsed, and stays empty for
    /// `none`, `text` and `base64`: nodes without data are common (containers) and no error by themselves.
    ///
    /// - Parameter wanted: members that are enough; there may be more.
    func value(of data: Bytes, _ wanted: WantedMembers = .all) throws(MappingFault) -> Value {
        switch self {
        case .none:
            return .bytes(data)
        case .text:
            guard isValidUTF8(data) else { throw .undecodable("the data is not valid UTF-8") }
            return .bytes(data)
        case .json:
            return data.isEmpty ? .null : try Value.json(data, wanted)
        case .yaml:
            return data.isEmpty ? .null : try Value.yaml(data)
        case .properties:
            return data.isEmpty ? .null : try Value.properties(data)
        case .url:
            return data.isEmpty ? .null : try Value.url(data)
        case .integer:
            if data.isEmpty { return .null }
            guard let number = Int64(trimmed(data)) else {
                throw .undecodable("the data is no integer of 64 bits")
            }
            return .integer(number)
        case .number:
            if data.isEmpty { return .null }
            guard let number = Value.number(parsing: trimmed(data)) else {
                throw .undecodable("the data is no number")
            }
            return number
        case .base64:
            guard let bytes = Decoding.base64(data) else {
                throw .undecodable("the data is not valid base64")
            }
            return .bytes(bytes)
        }
    }
}

extension Compression {
    /// What compressed data may become.
    static let maximumBytes = 16 << 20

    /// The data before it was compressed. No data at all stays none.
    func decompressed(_ data: Bytes) throws(MappingFault) -> Bytes {
        guard !data.isEmpty else { return data }
        switch self {
        case .none: return data
        case .gzip: return try gunzipped(data)
        case .lz4: return try unframed(data)
        case .zstd: return try unzstd(data)
        case .auto:
            if Gzip.isHeader(data) { return try gunzipped(data) }
            if LZ4Frame.isHeader(data) { return try unframed(data) }
            return Zstd.isHeader(data) ? try unzstd(data) : data
        }
    }

    private func gunzipped(_ data: Bytes) throws(MappingFault) -> Bytes {
        do {
            return try Gzip.decompress(data, atMost: Compression.maximumBytes)
        } catch {
            throw .undecodable("gzip: \(error)")
        }
    }

    private func unframed(_ data: Bytes) throws(MappingFault) -> Bytes {
        do {
            return try LZ4Frame().decompress(data, atMost: Compression.maximumBytes)
        } catch {
            throw .undecodable("lz4: \(error)")
        }
    }

    private func unzstd(_ data: Bytes) throws(MappingFault) -> Bytes {
        do {
            return try Zstd.decompress(data, atMost: Compression.maximumBytes)
        } catch {
            throw .undecodable("zstd: \(error)")
        }
    }
}

private func isValidUTF8(_ data: Bytes) -> Bool {
    String(validating: data, as: UTF8.self) != nil
}

/// The data as text without the ASCII white space around it. Invalid UTF-8 becomes text that is no number.
private func trimmed(_ data: Bytes) -> Substring {
    let text = String(decoding: data, as: UTF8.self)[...]
    let isSpace: (Character) -> Bool = { $0.isASCII && $0.isWhitespace }
    guard let first = text.firstIndex(where: { !isSpace($0) }),
        let last = text.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return text[first...last]
}

extension Value {
    /// An integer where it is one, otherwise the shortest decimal form of the nearest `Double`.
    /// `nil` for anything but a finite decimal number.
    static func number(parsing text: some StringProtocol) -> Value? {
        if let integer = Int64(text) { return .integer(integer) }
        // Double(_:) also reads hexadecimal, infinity and nan, which are not for us.
        let allowed = Set("0123456789+-.eE".utf8)
        guard text.utf8.allSatisfy(allowed.contains), let number = Double(text), number.isFinite else {
            return nil
        }
        return .number(String(number))
    }
}
