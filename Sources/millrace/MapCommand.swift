import ArgumentParser
import ChangeModel
import Foundation
import Mapping
import PipelineDefinition

struct MapCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "map",
        abstract: "Show what a change would become, rule by rule, without any server.",
        discussion: """
            Without --path changes are read from standard input, one JSON object a line: \
            {"op": "c", "path": "/a", "data": "1"}; op is c where it is missing, and data_base64 holds bytes that are \
            no text.
            """)

    @Argument(help: "A pipeline definition.", completion: .file(extensions: ["yaml"]))
    var file: String

    @Option(help: "The znode.")
    var path: String?

    @Option(help: "Its data; without it the node has none.")
    var data: String?

    @Option(help: "What happened: c (created), u (data changed), d (deleted) or r (read by a snapshot).")
    var op = "c"

    @Flag(help: "The node is ephemeral.")
    var ephemeral = false

    @Option(help: "The node's data version.")
    var version: Int32 = 0

    @Option(help: "Only this sink.")
    var sink: String?

    @Flag(help: "Print one JSON document for each change, on one line.")
    var json = false

    func run() async throws {
        try await reportingFailures {
            guard let definition = try loadDefinitions([file]).first else { throw ExitCode.definition }
            if let sink, !definition.sinks.contains(where: { $0.name == sink }) {
                throw ValidationError("there is no sink '\(sink)' in \(file)")
            }
            let map = MapReport(definition, sink: sink, json: json)
            if let path {
                let input = MapInput(
                    op: op, path: path, data: data, dataBase64: nil, ephemeral: ephemeral, version: version,
                    zxid: nil, milliseconds: nil)
                print(map.text(of: try change(input, place: ""), offset: 0))
                return
            }
            var number: Int64 = 0
            while let line = readLine() {
                number += 1
                if line.allSatisfy(\.isWhitespace) { continue }
                let place = "line \(number): "
                do {
                    let input = try JSONDecoder().decode(MapInput.self, from: Data(line.utf8))
                    print(map.text(of: try change(input, place: place), offset: number - 1))
                } catch is DecodingError {
                    throw ValidationError(place + "no JSON object with a path")
                }
            }
        }
    }

    private func change(_ input: MapInput, place: String) throws -> Change {
        guard let operation = ChangeModel.Operation(letter: input.op ?? "c") else {
            throw ValidationError("\(place)op is one of c, u, r, d, not '\(input.op ?? "")'")
        }
        guard input.path.hasPrefix("/") else {
            throw ValidationError("\(place)a path begins with a slash: '\(input.path)'")
        }
        var data = input.data.map { Bytes($0.utf8) }
        if let text = input.dataBase64 {
            guard let bytes = Decoding.base64(Bytes(text.utf8)) else {
                throw ValidationError("\(place)data_base64 is no base64")
            }
            data = bytes
        }
        let zxid = Zxid(input.zxid ?? 1)
        return Change(
            operation: operation, path: input.path, data: operation == .delete ? nil : data ?? [], zxid: zxid,
            timestamp: input.milliseconds ?? 0,
            stat: NodeStat(
                czxid: zxid, mzxid: zxid, version: input.version ?? 0,
                ephemeralOwner: input.ephemeral == true ? 1 : 0),
            before: input.before.map { Bytes($0.utf8) })
    }
}

/// A change as a line of standard input names it.
struct MapInput: Decodable {
    var op: String?
    var path: String
    var data: String?
    var dataBase64: String?
    var before: String?
    var ephemeral: Bool?
    var version: Int32?
    var zxid: Int64?
    var milliseconds: Int64?

    enum CodingKeys: String, CodingKey {
        case op, path, data, before, ephemeral, version, zxid
        case dataBase64 = "data_base64"
        case milliseconds = "ts_ms"
    }
}
