import ChangeModel
import Mapping
import Testing

@Suite struct FieldTests {
    private func value(_ json: String, _ type: FieldType, default fallback: String? = nil) throws -> String {
        let fields = [try field("f", from: "value.v", type: type, default: fallback)]
        return mapper([try rule("/{x}", decode: .json, set: fields)], try sink(.hash, key: "h"))
            .write(change(.create, "/n", "{\"v\":\(json)}"))
    }

    @Test(arguments: [
        (FieldType.integer, "80", "80"), (.integer, "\"80\"", "80"), (.integer, "80.0", "80"),
        (.integer, "9223372036854775807", "9223372036854775807"), (.integer, "\"-5\"", "-5"),
        (.number, "80", "80"), (.number, "9.5", "9.5"), (.number, "\"9.50\"", "9.5"),
        (.number, "\"1e3\"", "1000.0"),
        (.boolean, "true", "true"), (.boolean, "\"false\"", "false"), (.boolean, "1", "true"),
        (.boolean, "0", "false"),
        (.string, "80", "80"), (.string, "true", "true"), (.string, "\"x\"", "x"), (.string, "[1]", "[1]"),
        (.string, "{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"), (.string, "\"\"", ""),
    ])
    func valuesAreCast(type: FieldType, json: String, expected: String) throws {
        #expect(try value(json, type) == "HASH h f='\(expected)'")
    }

    @Test(arguments: [
        (FieldType.integer, "9.5", "a number that cannot become an integer"),
        (.integer, "\"x\"", "text that cannot become an integer"),
        (.integer, "true", "a boolean that cannot become an integer"),
        (.integer, "1e300", "a number that cannot become an integer"),
        (.integer, "18446744073709551615", "a number that cannot become an integer"),
        (.number, "\"nan\"", "text that cannot become a number"),
        (.number, "[1]", "an array that cannot become a number"),
        (.boolean, "\"yes\"", "text that cannot become a boolean"),
        (.boolean, "2", "a number that cannot become a boolean"),
        (.boolean, "{}", "an object that cannot become a boolean"),
    ])
    func badValuesAreErrorsEvenWithADefault(type: FieldType, json: String, reason: String) throws {
        #expect(
            try value(json, type, default: "1")
                == "failed wrongType: rule 1, 'f': value.v is \(reason), in znode /n")
    }

    @Test func aDefaultStandsInForWhatIsMissingOrNull() throws {
        #expect(try value("null", .integer, default: "80") == "HASH h f='80'")
        #expect(try value("null", .boolean, default: "1") == "HASH h f='true'")
        #expect(try value("null", .string, default: "") == "HASH h f=''")
        #expect(
            try value("null", .integer) == "failed missing: rule 1, 'f': value.v is missing, in znode /n")
    }

    @Test func capturesMetadataAndTheWholeValueCanBeCastToo() throws {
        let fields = [
            try field("id", from: "id", type: .integer), try field("v", from: "version", type: .integer),
            try field("all", from: "value", type: .number), try field("e", from: "ephemeral", type: .boolean),
        ]
        let mapper = mapper([try rule("/b-{id}", set: fields)], try sink(.hash, key: "h"))
        #expect(mapper.write(change(.create, "/b-007", "2.0")) == "HASH h id='7' v='3' all='2.0' e='false'")
        #expect(
            mapper.write(change(.create, "/b-x", "2"))
                == "failed wrongType: rule 1, 'id': id is text that cannot become an integer, in znode /b-x")
    }

    @Test func defaultsAreCheckedByType() {
        #expect(FieldType.integer.accepts("80"))
        #expect(!FieldType.integer.accepts("eighty"))
        #expect(!FieldType.integer.accepts("9.5"))
        #expect(FieldType.number.accepts("9.5"))
        #expect(!FieldType.number.accepts("inf"))
        #expect(FieldType.boolean.accepts("false"))
        #expect(!FieldType.boolean.accepts("no"))
        #expect(FieldType.string.accepts("anything"))
    }
}
