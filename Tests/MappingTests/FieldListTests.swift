import Testing

@testable import Mapping

struct FieldListTests {
    private func field(_ name: String, _ value: String) -> Field {
        Field(name: name, value: Bytes(value.utf8))
    }

    @Test func fieldsComeBackInOrder() {
        let fields = [
            field("a", "1"), field("", ""), field("long name", String(repeating: "x", count: 70_000)),
        ]
        let list = FieldList(fields)
        #expect(list.fields == fields)
        #expect(list.count == 3)
        #expect(list.byteCount == 1 + 1 + 9 + 70_000)
    }

    @Test func listsAreEqualWhereTheirFieldsAre() {
        #expect(FieldList([field("ab", "c")]) != FieldList([field("a", "bc")]))
        var list: FieldList = [field("a", "1")]
        list.append(contentsOf: [field("b", "2")])
        #expect(list == [field("a", "1"), field("b", "2")])
        #expect(FieldList().isEmpty && FieldList().fields.isEmpty)
    }

    @Test func aFieldThatIsTakenBackLeavesNothing() {
        var list: FieldList = [field("a", "1")]
        let start = list.begin(Bytes("b".utf8))
        list.bytes.append(contentsOf: [1, 2, 3])
        list.cancel(start)
        #expect(list == [field("a", "1")])
        list.append(Bytes("c".utf8), [3])
        #expect(list.fields == [field("a", "1"), Field(name: "c", value: [3])])
    }
}
