import SystemPackage

/// A decoder that must end well whatever bytes it is given: in a result or in an error of its own, never in a trap.
///
/// The same bodies run under libFuzzer (`Scripts/fuzz`) and over the committed corpora (`swift test`).
enum FuzzTarget: String, CaseIterable {
    case zookeeper, observer, resp, segment, index, records, yaml
    /// Fails on purpose: shows that a failure is noticed.
    case canary

    /// - Parameter directory: an empty one, for the decoders that read files; what lies there is overwritten.
    func run(_ bytes: [UInt8], in directory: FilePath) throws(FuzzFailure) {
        var input = FuzzInput(bytes)
        switch self {
        case .zookeeper: try fuzzZooKeeper(&input)
        case .observer: try fuzzObserver(&input)
        case .resp: try fuzzRESP(&input)
        case .segment: try fuzzSegment(&input, directory)
        case .index: try fuzzIndex(&input, directory)
        case .records: try fuzzRecords(&input, directory)
        case .yaml: try fuzzYAML(bytes, directory)
        case .canary: try fuzzCanary(bytes)
        }
    }
}

/// Something that must hold for any input and does not.
struct FuzzFailure: Error, CustomStringConvertible {
    let description: String

    static func unless(_ holds: Bool, _ claim: @autoclosure () -> String) throws(FuzzFailure) {
        if !holds { throw FuzzFailure(description: "this does not hold: " + claim()) }
    }
}

/// Four bytes that chance does not find, so that a fuzzer without its feedback is noticed too; four others trap.
private func fuzzCanary(_ bytes: [UInt8]) throws(FuzzFailure) {
    if bytes == Array("trap".utf8) { _ = bytes[bytes.count] }
    guard bytes.count >= 4, bytes[0] == 0x6D, bytes[1] == 0x69, bytes[2] == 0x6C, bytes[3] == 0x6C else {
        return
    }
    throw FuzzFailure(description: "the canary sings")
}
