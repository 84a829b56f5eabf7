import Foundation

extension Value {
    /// Parses JSON text (RFC 8259, UTF-8), of at most 512 levels of nesting.
    ///
    /// simdjson reads most documents, which takes a tenth of Foundation's time. Foundation decides of all that simdjson does
    /// not take, and of numbers that are no integers of 64 bits, so that their digits stay.
    ///
    /// - Parameter wanted: members that are enough; there may be more.
    ///
    /// Throws without quoting the data, which is not ours to print.
    static func json(_ bytes: Bytes, _ wanted: WantedMembers = .all) throws(MappingFault) -> Value {
        if let value = JSONEvents.value(of: bytes, wanted) { return value }
        return try foundationJSON(bytes)
    }

    static func foundationJSON(_ bytes: Bytes) throws(MappingFault) -> Value {
        // A NUL is never part of JSON in UTF-8, but would make Foundation guess at UTF-16 or UTF-32.
        guard !bytes.contains(0) else { throw .undecodable("the data is not valid JSON") }
        do {
            return convert(try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed))
        } catch {
            throw .undecodable("the data is not valid JSON")
        }
    }

    /// Types are compared before casting: a cast that fails looks for bridges first, which is slow.
    private static func convert(_ object: Any) -> Value {
        let type = type(of: object)
        if type == String.self, let text = object as? String {
            return .text(text)
        } else if type == [String: Any].self, let members = object as? [String: Any] {
            return objectValue(members)
        } else if type == [Any].self, let items = object as? [Any] {
            return .array(items.map(convert))
        }
        return switch object {
        case let number as NSNumber: convert(number)
        case let text as String: .text(text)
        case let members as [String: Any]: objectValue(members)
        case let items as [Any]: .array(items.map(convert))
        default: .null
        }
    }

    private static func objectValue(_ members: [String: Any]) -> Value {
        .object(ObjectValue(members.map { ObjectValue.Member(name: $0.key, value: convert($0.value)) }))
    }

    /// `true` and `1` are both NSNumber; the type code tells them apart: `c` is given to booleans alone.
    private static func convert(_ number: NSNumber) -> Value {
        switch UInt8(bitPattern: number.objCType.pointee) {
        case UInt8(ascii: "c"):
            return .boolean(number.boolValue)
        case UInt8(ascii: "d"), UInt8(ascii: "Q"):
            // Int64.min and what needs more digits than a Double has come as decimals of type `d`.
            let text = number.stringValue
            return Int64(text).map(Value.integer) ?? .number(text)
        default:
            return .integer(number.int64Value)
        }
    }
}
