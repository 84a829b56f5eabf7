import ChangeModel
import Mapping
import Testing

@Suite struct SinkTests {
    private let created = change(.create, "/n", #"{"b":1,"a":"x","gone":null,"deep":{"z":[true],"y":2}}"#)
    private let deleted = change(.delete, "/n")

    // MARK: string

    @Test func stringWritesTheBytes() throws {
        let mapper = mapper(nil, try sink(.string))
        #expect(
            mapper.map(
                Change(operation: .update, path: "/n", data: [0, 0xff], zxid: .none, timestamp: 0), offset: 0,
                sink: 0)
                == .writes([.setString(key: Bytes("k:/n".utf8), value: [0, 0xff])]))
    }

    @Test func stringOfANodeWithoutDataIsEmpty() throws {
        #expect(mapper(nil, try sink(.string)).write(change(.create, "/n", "")) == "SET k:/n ''")
        #expect(mapper(nil, try sink(.string)).write(change(.create, "/n", nil)) == "SET k:/n ''")
        let json = mapper([try rule("/{x}", decode: .json)], try sink(.string))
        #expect(json.write(change(.create, "/n", "")) == "SET k:/n ''")
    }

    @Test func stringOfDecodedJSONIsCompactJSON() throws {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.string))
        #expect(
            mapper.write(created) == #"SET k:/n '{"a":"x","b":1,"deep":{"y":2,"z":[true]},"gone":null}'"#)
        #expect(mapper.write(change(.update, "/n", "\"bare\"")) == "SET k:/n 'bare'")
    }

    @Test(arguments: [
        (DeletePolicy.delete, "DEL k:/n"), (.tombstone, "SET k:/n ''"), (.keep, "dropped kept"),
    ])
    func stringOnDelete(policy: DeletePolicy, expected: String) throws {
        #expect(mapper(nil, try sink(.string, onDelete: policy)).write(deleted) == expected)
    }

    // MARK: hash

    @Test func hashOfAnObjectHasItsMembersWithoutNulls() throws {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.hash))
        #expect(mapper.write(created) == #"HASH k:/n a='x' b='1' deep='{"y":2,"z":[true]}'"#)
    }

    @Test func hashOfUndecodedDataHasOneField() throws {
        #expect(mapper(nil, try sink(.hash)).write(change(.create, "/n", "v")) == "HASH k:/n data='v'")
        #expect(mapper(nil, try sink(.hash)).write(change(.create, "/n", "")) == "HASH k:/n data=''")
        let integer = mapper([try rule("/{x}", decode: .integer)], try sink(.hash))
        #expect(integer.write(change(.create, "/n", "07")) == "HASH k:/n data='7'")
    }

    @Test func hashWithNothingToHoldIsRemoved() throws {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.hash))
        #expect(mapper.write(change(.update, "/n", "")) == "DEL k:/n")
        #expect(mapper.write(change(.update, "/n", "{}")) == "DEL k:/n")
        #expect(mapper.write(change(.update, "/n", "null")) == "DEL k:/n")
    }

    @Test(arguments: [("[1]", "an array"), ("5", "a number"), ("\"x\"", "text"), ("true", "a boolean")])
    func hashOfJSONThatIsNoObjectIsAnError(data: String, kind: String) throws {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.hash))
        #expect(
            mapper.write(change(.update, "/n", data))
                == "failed wrongShape: rule 1: a hash without set: is made "
                + "of an object's members, but the data is \(kind), in znode /n")
    }

    @Test func hashOfSetHasItsFieldsInOrder() throws {
        let fields = [try field("z", "{value.b}"), try field("a", "{x}-{op}"), try field("lit", "text")]
        let mapper = mapper([try rule("/{x}", decode: .json, set: fields)], try sink(.hash))
        #expect(mapper.write(created) == "HASH k:/n z='1' a='n-c' lit='text'")
    }

    @Test(arguments: [
        (DeletePolicy.delete, "DEL k:/n"), (.tombstone, "HASH k:/n deleted='1'"), (.keep, "dropped kept"),
    ])
    func hashOnDelete(policy: DeletePolicy, expected: String) throws {
        #expect(mapper(nil, try sink(.hash, onDelete: policy)).write(deleted) == expected)
    }

    @Test func oneFieldOfAHash() throws {
        let plain = mapper([try rule("/{x}")], try sink(.hash, key: "h", field: "{x}"))
        #expect(plain.write(change(.update, "/n", "v")) == "HSET h n='v'")
        let other = mapper(
            [try rule("/{x}", decode: .json)], try sink(.hash, key: "h", field: "{x}", value: "{value.b}"))
        #expect(other.write(created) == "HSET h n='1'")
        #expect(
            other.write(change(.update, "/n", "{}"))
                == "failed missing: rule 1, 'value': value.b is missing, in znode /n")
    }

    @Test(arguments: [
        (DeletePolicy.delete, "HDEL h n"), (.tombstone, "HSET h n=''"), (.keep, "dropped kept"),
    ])
    func oneFieldOnDelete(policy: DeletePolicy, expected: String) throws {
        let mapper = mapper([try rule("/{x}")], try sink(.hash, key: "h", field: "{x}", onDelete: policy))
        #expect(mapper.write(deleted) == expected)
    }

    // MARK: sets

    @Test func membersComeAndGo() throws {
        let mapper = mapper([try rule("/{x}")], try sink(.set, key: "s", member: "{x}"))
        for operation in [Operation.create, .update, .read] {
            #expect(mapper.write(change(operation, "/n", "v")) == "SADD s n")
        }
        #expect(mapper.write(deleted) == "SREM s n")
        let keeping = Mapping.Mapper(
            transform: TransformSpecification(stages: [.rules([try rule("/{x}")])]),
            sinks: [try sink(.set, key: "s", member: "{x}", onDelete: .keep)])
        #expect(keeping.write(deleted) == "dropped kept")
    }

    @Test func scoredMembersComeAndGo() throws {
        let mapper = mapper(
            [try rule("/{x}", decode: .json)],
            try sink(.sortedSet, key: "z", member: "{x}", score: "{value.b}"))
        #expect(mapper.write(created) == "ZADD z 1 n")
        #expect(mapper.write(change(.update, "/n", #"{"b":"2.50"}"#)) == "ZADD z 2.5 n")
        #expect(mapper.write(deleted) == "ZREM z n")
        for bad in [#"{"b":"x"}"#, #"{"b":"inf"}"#, #"{"b":""}"#] {
            #expect(
                mapper.write(change(.update, "/n", bad))
                    == "failed wrongType: rule 1, 'score': the score is no finite number, in znode /n")
        }
    }

    // MARK: stream and stdout

    @Test func streamEntriesCarryTheBytesAlsoOfDecodedData() throws {
        let mapper = mapper([try rule("/{x}", decode: .json)], try sink(.stream(StreamOptions()), key: "s"))
        #expect(
            mapper.write(change(.update, "/n", "{ }"))
                == "XADD s op='u' path='/n' zxid='7' version='3' ts_ms='1000' data='{ }'")
        #expect(
            mapper.write(change(.update, "/n", ""))
                == "XADD s op='u' path='/n' zxid='7' version='3' ts_ms='1000' data=''")
        #expect(mapper.write(deleted) == "XADD s op='d' path='/n' zxid='7' version='3' ts_ms='1000'")
    }

    @Test func streamEntriesWithSetCarryItsFieldsInsteadOfTheData() throws {
        let fields = [
            try field("host", "{value.a}"), try field("node", "{x}"),
            try field("kept", from: "value.q", default: "-"),
        ]
        let mapper = mapper(
            [try rule("/{x}", decode: .json, set: fields)], try sink(.stream(StreamOptions()), key: "s"))
        #expect(
            mapper.write(created)
                == "XADD s op='c' path='/n' zxid='7' version='3' ts_ms='1000' host='x' node='n' kept='-'")
        // What needs the value is left out, its default too.
        #expect(
            mapper.write(deleted) == "XADD s op='d' path='/n' zxid='7' version='3' ts_ms='1000' node='n'")
    }

    @Test func aFieldOfSetMayStandInThePlaceOfOneOfTheFive() throws {
        let fields = [try field("path", "/chroot{path}"), try field("op", "{value.op}")]
        let mapper = mapper(
            [try rule("/{x}", decode: .json, set: fields)], try sink(.stream(StreamOptions()), key: "s"))
        #expect(
            mapper.write(change(.update, "/n", #"{"op":"changed"}"#))
                == "XADD s op='changed' path='/chroot/n' zxid='7' version='3' ts_ms='1000'")
        #expect(
            mapper.write(deleted) == "XADD s op='d' path='/chroot/n' zxid='7' version='3' ts_ms='1000'")
    }

    @Test func aStreamIgnoresOnDelete() throws {
        let mapper = mapper(nil, try sink(.stream(StreamOptions()), key: "s", onDelete: .keep))
        #expect(mapper.write(deleted).hasPrefix("XADD s op='d'"))
    }

    @Test func stdoutTakesTheEnvelope() throws {
        let mapper = mapper([try rule("/n", on: [.create])], SinkSpecification(name: "out", write: .stdout))
        #expect(mapper.write(created) == "ENVELOPE")
        #expect(mapper.write(deleted) == "dropped operation")
    }

    @Test func whatIsNotKnownOfADeletedNodeIsLeftOut() throws {
        var gone = deleted
        gone.stat = nil
        let fields = [try field("e", "{ephemeral}"), try field("n", "{x}")]
        let mapper = mapper([try rule("/{x}", set: fields)], try sink(.stream(StreamOptions()), key: "s"))
        #expect(
            mapper.write(gone) == "XADD s op='d' path='/n' zxid='7' version='-1' ts_ms='1000' n='n'")
    }
}
