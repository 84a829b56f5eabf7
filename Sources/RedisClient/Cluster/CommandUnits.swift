internal import NIOCore

/// Finds the commands in a batch again. What is not a whole command ends it.
struct CommandWalker {
    enum Kind {
        case begin, end, other
    }

    private let bytes: ByteBufferView
    private(set) var position: Int

    init(_ batch: RedisCommandBatch) {
        bytes = batch.buffer.readableBytesView
        position = bytes.startIndex
    }

    /// Moves behind the next command.
    mutating func next() -> Kind? {
        guard let arguments = length(UInt8(ascii: "*")), arguments > 0 else { return nil }
        var kind = Kind.other
        for index in 0..<arguments {
            guard let count = length(UInt8(ascii: "$")), count <= bytes.endIndex - position - 2 else {
                return nil
            }
            if index == 0 { kind = CommandWalker.kind(bytes[position..<position + count]) }
            position += count + 2
        }
        return kind
    }

    /// A line of a type, a number and CRLF.
    private mutating func length(_ type: UInt8) -> Int? {
        guard position < bytes.endIndex, bytes[position] == type else { return nil }
        var number = 0
        var index = position + 1
        while index < bytes.endIndex, bytes[index] != UInt8(ascii: "\r") {
            number = number * 10 + Int(bytes[index]) - 0x30
            index += 1
        }
        position = min(index + 2, bytes.endIndex)
        return number
    }

    private static func kind(_ name: ByteBufferView) -> Kind {
        guard (4...7).contains(name.count) else { return .other }
        switch String(decoding: name, as: UTF8.self).uppercased() {
        case "MULTI": return .begin
        case "EXEC", "DISCARD": return .end
        default: return .other
        }
    }
}

extension RedisCommandBatch {
    /// What is executed as one: each command, or a whole transaction.
    ///
    /// - Precondition: every `MULTI` has its `EXEC` or `DISCARD`.
    func units() -> [RedisCommandBatch] {
        var walker = CommandWalker(self)
        var units: [RedisCommandBatch] = []
        var start = walker.position
        var commands = 0
        var isOpen = false
        while let kind = walker.next() {
            commands += 1
            if kind != .other { isOpen = kind == .begin }
            guard !isOpen, let unit = buffer.getSlice(at: start, length: walker.position - start) else {
                continue
            }
            units.append(RedisCommandBatch(encoded: unit, count: commands))
            start = walker.position
            commands = 0
        }
        precondition(!isOpen, "a MULTI without EXEC or DISCARD")
        return units
    }
}

/// Batches for one node, put together for one write, and their replies, taken apart again.
struct NodeWrite {
    private struct Part {
        let index: Int
        let commands: Int
        /// For each unit of the batch, how many commands it has; `nil` without `ASKING`.
        let asked: [Int]?
    }

    private static let asking: RedisCommandBatch = {
        var batch = RedisCommandBatch()
        batch.append("ASKING")
        return batch
    }()

    private(set) var commands = RedisCommandBatch()
    private var parts: [Part] = []

    /// - Parameter index: by which the replies are told apart afterwards.
    mutating func add(_ batch: ClusterBatch, index: Int) {
        guard case .asking = batch.target else {
            // Most often it is the only one: then nothing is copied.
            if commands.count == 0 {
                commands = batch.commands
            } else {
                commands.append(contentsOf: batch.commands)
            }
            parts.append(Part(index: index, commands: batch.commands.count, asked: nil))
            return
        }
        let units = batch.commands.units()
        for unit in units {
            commands.append(contentsOf: NodeWrite.asking)
            commands.append(contentsOf: unit)
        }
        parts.append(
            Part(index: index, commands: batch.commands.count + units.count, asked: units.map(\.count)))
    }

    /// The replies to each batch that was added.
    func split(_ replies: [RESPValue]) -> [(index: Int, replies: [RESPValue])] {
        var rest = replies[...]
        return parts.map { part in
            var own = rest.prefix(part.commands)
            rest = rest.dropFirst(part.commands)
            guard let asked = part.asked else { return (part.index, Array(own)) }
            var kept: [RESPValue] = []
            for count in asked {
                kept += own.dropFirst().prefix(count)
                own = own.dropFirst(count + 1)
            }
            return (part.index, kept)
        }
    }

    var indices: [Int] { parts.map(\.index) }
}
