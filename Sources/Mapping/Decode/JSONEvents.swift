import CSimdJSON

/// The parts of a JSON document, as simdjson reads them, made a value.
struct JSONEvents {
    private let events: UnsafeBufferPointer<millrace_json_event>
    private var position = 0

    /// The value of a document that is an object or an array; `nil` where simdjson does not read it, or where it is left
    /// to Foundation.
    static func value(of bytes: Bytes) -> Value? {
        bytes.withUnsafeBufferPointer { bytes in
            var count = 0
            guard let events = millrace_json_parse(bytes.baseAddress, bytes.count, &count) else { return nil }
            var reader = JSONEvents(events: UnsafeBufferPointer(start: events, count: count))
            return reader.next()
        }
    }

    private init(events: UnsafeBufferPointer<millrace_json_event>) {
        self.events = events
    }

    private mutating func next() -> Value? {
        guard position < events.count else { return nil }
        let event = events[position]
        position += 1
        switch event.kind {
        case .null: return .null
        case .false: return .boolean(false)
        case .true: return .boolean(true)
        case .integer: return .integer(event.number)
        case .number:
            // As most write them, these are the digits that Foundation gives, too.
            let text = JSONEvents.text(event)
            if let number = Double(text), !text.hasSuffix(".0"), "\(number)" == text { return .number(text) }
            return try? Value.foundationJSON(Bytes(text.utf8))
        case .string: return .text(JSONEvents.text(event))
        case .object: return object()
        case .array: return array()
        case .key, .object_end, .array_end: return nil
        }
    }

    private mutating func object() -> Value? {
        var members: [ObjectValue.Member] = []
        members.reserveCapacity(16)
        while position < events.count {
            let event = events[position]
            position += 1
            if event.kind == .object_end { return .object(ObjectValue(members)) }
            guard event.kind == .key, let value = next() else { return nil }
            members.append(ObjectValue.Member(name: JSONEvents.text(event), value: value))
        }
        return nil
    }

    private mutating func array() -> Value? {
        var items: [Value] = []
        while position < events.count, events[position].kind != .array_end {
            guard let value = next() else { return nil }
            items.append(value)
        }
        position += 1
        return .array(items)
    }

    private static func text(_ event: millrace_json_event) -> String {
        String(decoding: UnsafeRawBufferPointer(start: event.text, count: Int(event.length)), as: UTF8.self)
    }
}
