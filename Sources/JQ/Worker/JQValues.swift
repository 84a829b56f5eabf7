import CJQ

// jq's own values, read and written as the socket has them.

extension JQDecoder {
    /// The next value; the caller owns it.
    mutating func jqValue() throws(JQError) -> jv {
        switch try tag() {
        case .null: return jv_null()
        case .false: return jv_false()
        case .true: return jv_true()
        case .number: return jv_number(try number())
        case .text: return try text(JQDecoder.jqString)
        case .array:
            let count = try count()
            var array = jv_array_sized(Int32(clamping: count))
            for _ in 0..<count {
                do {
                    array = jv_array_append(array, try jqValue())
                } catch {
                    jv_free(array)
                    throw error
                }
            }
            return array
        case .object:
            var object = jv_object()
            for _ in 0..<(try count()) {
                do {
                    let name = try text(JQDecoder.jqString)
                    object = jv_object_set(object, name, try jqValue())
                } catch {
                    jv_free(object)
                    throw error
                }
            }
            return object
        }
    }

    private static func jqString(_ text: UnsafeBufferPointer<CChar>) -> jv {
        jv_string_sized(text.baseAddress, Int32(clamping: text.count))
    }
}

extension JQEncoder {
    /// Takes over the value, which a program can make much larger than its input.
    mutating func append(_ value: jv, depth: Int = 1, _ budget: inout Int) throws(JQError) {
        defer { jv_free(value) }
        budget -= 1
        guard budget >= 0, depth <= JQProgram.Limits.depth else {
            throw JQError(
                .limit,
                "jq puts out more than \(JQProgram.Limits.values) values, or nests them more than "
                    + "\(JQProgram.Limits.depth) deep")
        }
        switch jv_get_kind(value) {
        case JV_KIND_FALSE: append(false)
        case JV_KIND_TRUE: append(true)
        case JV_KIND_NUMBER: append(jv_number_value(value))
        case JV_KIND_STRING:
            append(.text)
            try append(text: value)
        case JV_KIND_ARRAY:
            let count = jv_array_length(jv_copy(value))
            appendArray(count: Int(count))
            for index in 0..<count {
                try append(jv_array_get(jv_copy(value), index), depth: depth + 1, &budget)
            }
        case JV_KIND_OBJECT:
            appendObject(count: Int(jv_object_length(jv_copy(value))))
            var place = jv_object_iter(value)
            while jv_object_iter_valid(value, place) != 0 {
                let name = jv_object_iter_key(value, place)
                defer { jv_free(name) }
                try append(text: name)
                try append(jv_object_iter_value(value, place), depth: depth + 1, &budget)
                place = jv_object_iter_next(value, place)
            }
        default: appendNull()
        }
    }

    private mutating func append(text: jv) throws(JQError) {
        let count = Int(jv_string_length_bytes(jv_copy(text)))
        guard bytes.count + count <= JQProgram.Limits.textBytes else {
            throw JQError(.limit, "jq puts out more than \(JQProgram.Limits.textBytes >> 20) MiB")
        }
        append(bytes: UnsafeRawBufferPointer(start: jv_string_value(text), count: count))
    }
}
