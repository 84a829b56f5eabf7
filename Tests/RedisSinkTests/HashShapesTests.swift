import Mapping
import Testing

@testable import RedisSink

struct HashShapesTests {
    /// Whether each hash was known when it was given its fields, one after the other.
    private func known(_ hashes: (key: String, names: [String])...) -> [Bool] {
        var shapes = HashShapes()
        return hashes.map { hash in
            shapes.remember(Bytes(hash.key.utf8), FieldList(hash.names.map { Field(name: $0, value: [1]) }))
        }
    }

    @Test func aHashIsKnownByItsKeyAndItsFieldsNames() {
        let found = known(
            ("k", ["a", "b"]), ("k", ["a", "b"]), ("k", ["a"]), ("k", ["a", "b"]), ("l", ["a", "b"]))
        #expect(found == [false, true, false, false, false])
    }

    @Test func aHashThatIsForgottenIsNotKnown() {
        var shapes = HashShapes()
        let fields: FieldList = [Field(name: "a", value: [])]
        _ = shapes.remember([1], fields)
        shapes.forget([1])
        let isKnown = shapes.remember([1], fields)
        #expect(!isKnown)
    }

    /// Neither into the next name nor out of the key.
    @Test func namesDoNotRunIntoOneAnother() {
        let found = known(("k", ["ab", "c"]), ("k", ["a", "bc"]), ("k", ["abc"]), ("k", ["", "abc"]))
        #expect(found == [false, false, false, false])
    }
}
