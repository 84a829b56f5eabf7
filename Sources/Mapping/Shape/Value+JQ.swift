import CJQ
import JQ

extension JQProgram {
    /// The outputs of a program; none where it lets nothing through.
    ///
    /// jq's numbers are doubles: integers beyond 2^53 lose their last digits.
    func outputs(of value: Value) throws(MappingFault) -> [Value] {
        var outputs: [Value] = []
        var budget = JQOutput.maximumParts
        do {
            try run(value.jqValue) { output throws(JQError) in
                outputs.append(try JQOutput.take(output, depth: 1, &budget))
            }
        } catch {
            throw .jq(error.message)
        }
        return outputs
    }
}

extension Value {
    fileprivate var jqValue: jv {
        switch self {
        case .null: jv_null()
        case .boolean(let flag): jv_bool(flag ? 1 : 0)
        case .integer(let number): jv_number(Double(number))
        case .number(let text): Double(text).map(jv_number) ?? jv_null()
        case .text(let text): Value.jqString(text)
        case .bytes(let raw): Value.jqString(String(decoding: raw, as: UTF8.self))
        case .array(let items): items.reduce(jv_array()) { jv_array_append($0, $1.jqValue) }
        case .object(let members):
            members.members.reduce(jv_object()) { object, member in
                jv_object_set(object, Value.jqString(member.name), member.value.jqValue)
            }
        }
    }

    private static func jqString(_ text: String) -> jv {
        var text = text
        return text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                jv_string_sized(characters.baseAddress, Int32(clamping: characters.count))
            }
        }
    }
}

/// What jq puts out, as a value of ours. A program can make much of little.
private enum JQOutput {
    /// Values and KiB of text that all outputs for one input may have.
    static let maximumParts = 200_000
    private static let maximumDepth = 512

    /// Takes over the value.
    static func take(_ value: jv, depth: Int, _ budget: inout Int) throws(JQError) -> Value {
        defer { jv_free(value) }
        budget -= 1
        guard budget >= 0, depth <= maximumDepth else {
            throw JQError(
                .limit,
                "jq puts out more than \(maximumParts) values, or nests them more than \(maximumDepth) deep")
        }
        switch jv_get_kind(value) {
        case JV_KIND_FALSE: return .boolean(false)
        case JV_KIND_TRUE: return .boolean(true)
        case JV_KIND_NUMBER: return number(jv_number_value(value))
        case JV_KIND_STRING: return text(value, &budget)
        case JV_KIND_ARRAY:
            var items: [Value] = []
            for index in 0..<jv_array_length(jv_copy(value)) {
                items.append(try take(jv_array_get(jv_copy(value), index), depth: depth + 1, &budget))
            }
            return .array(items)
        case JV_KIND_OBJECT:
            var members: [ObjectValue.Member] = []
            var place = jv_object_iter(value)
            while jv_object_iter_valid(value, place) != 0 {
                let name = jv_object_iter_key(value, place)
                defer { jv_free(name) }
                let member = try take(jv_object_iter_value(value, place), depth: depth + 1, &budget)
                members.append(.init(name: string(name), value: member))
                place = jv_object_iter_next(value, place)
            }
            return .object(ObjectValue(members))
        default: return .null
        }
    }

    private static func number(_ number: Double) -> Value {
        if let integer = Int64(exactly: number), integer.magnitude <= 1 << 53 { return .integer(integer) }
        return number.isFinite ? .number(String(number)) : .null
    }

    private static func text(_ value: jv, _ budget: inout Int) -> Value {
        let text = string(value)
        budget -= text.utf8.count >> 10
        return .text(text)
    }

    private static func string(_ value: jv) -> String {
        let count = Int(jv_string_length_bytes(jv_copy(value)))
        guard let bytes = jv_string_value(value) else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }
}
