import JQ

extension JQProgram {
    /// The outputs of a program; none where it lets nothing through.
    ///
    /// jq's numbers are doubles: integers beyond 2^53 lose their last digits.
    func outputs(of value: Value) throws(MappingFault) -> [Value] {
        var input = JQEncoder()
        value.encode(into: &input)
        do {
            var decoder = try run(input)
            var outputs: [Value] = []
            while !decoder.isAtEnd { outputs.append(try Value(&decoder)) }
            return outputs
        } catch {
            throw .jq(error.message)
        }
    }
}

extension Value {
    fileprivate func encode(into input: inout JQEncoder) {
        switch self {
        case .null: input.appendNull()
        case .boolean(let flag): input.append(flag)
        case .integer(let number): input.append(Double(number))
        case .number(let text):
            if let number = Double(text) { input.append(number) } else { input.appendNull() }
        case .text(let text): input.append(text)
        case .bytes(let raw): input.append(String(decoding: raw, as: UTF8.self))
        case .array(let items):
            input.appendArray(count: items.count)
            for item in items { item.encode(into: &input) }
        case .object(let members):
            input.appendObject(count: members.members.count)
            for member in members.members {
                input.append(name: member.name)
                member.value.encode(into: &input)
            }
        }
    }

    /// The decoder bounds how many there are and how deep they nest.
    fileprivate init(_ decoder: inout JQDecoder) throws(JQError) {
        switch try decoder.next() {
        case .null: self = .null
        case .boolean(let flag): self = .boolean(flag)
        case .number(let number): self = Value(jqNumber: number)
        case .text(let text): self = .text(text)
        case .array(let count):
            var items: [Value] = []
            items.reserveCapacity(count)
            for _ in 0..<count { items.append(try Value(&decoder)) }
            self = .array(items)
        case .object(let count):
            var members: [ObjectValue.Member] = []
            members.reserveCapacity(count)
            for _ in 0..<count {
                members.append(.init(name: try decoder.name(), value: try Value(&decoder)))
            }
            self = .object(ObjectValue(members))
        }
    }

    private init(jqNumber number: Double) {
        if let integer = Int64(exactly: number), integer.magnitude <= 1 << 53 {
            self = .integer(integer)
        } else {
            self = number.isFinite ? .number(String(number)) : .null
        }
    }
}
