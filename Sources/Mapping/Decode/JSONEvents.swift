import CSimdJSON

/// The parts of a JSON document, as simdjson reads them, made a value.
struct JSONEvents {
    private let events: UnsafeBufferPointer<millrace_json_event>
    private let wanted: WantedMembers
    private var position = 0

    /// The value of a document that is an object or an array; `nil` where simdjson does not read it, or where it is left
    /// to Foundation.
    ///
    /// - Parameter wanted: of an object.
    static func value(of bytes: Bytes, _ wanted: WantedMembers) -> Value? {
        bytes.withUnsafeBufferPointer { bytes in
            var count = 0
            guard let events = millrace_json_parse(bytes.baseAddress, bytes.count, &count) else { return nil }
            var reader = JSONEvents(UnsafeBufferPointer(start: events, count: count), wanted)
            return reader.document()
        }
    }

    private init(_ events: UnsafeBufferPointer<millrace_json_event>, _ wanted: WantedMembers) {
        self.events = events
        self.wanted = wanted
    }

    private mutating func document() -> Value? {
        guard wanted.count != nil, events.first?.kind == .object else { return next() }
        position = 1
        return object(wanted)
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
        case .object: return object(.all)
        case .array: return array()
        case .key, .object_end, .array_end: return nil
        }
    }

    private mutating func object(_ wanted: WantedMembers) -> Value? {
        var members: [ObjectValue.Member] = []
        members.reserveCapacity(wanted.count ?? 16)
        let isWhole = wanted.count == nil
        while position < events.count {
            let event = events[position]
            position += 1
            if event.kind == .object_end { return .object(ObjectValue(members)) }
            guard event.kind == .key else { return nil }
            guard isWhole || wanted.contains(JSONEvents.bytes(event)) else {
                skip()
                continue
            }
            guard let value = next() else { return nil }
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

    private mutating func skip() {
        var depth = 0
        while position < events.count {
            switch events[position].kind {
            case .object, .array: depth += 1
            case .object_end, .array_end: depth -= 1
            default: break
            }
            position += 1
            if depth == 0 { return }
        }
    }

    private static func bytes(_ event: millrace_json_event) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: event.text, count: Int(event.length))
    }

    private static func text(_ event: millrace_json_event) -> String {
        String(decoding: bytes(event), as: UTF8.self)
    }
}
