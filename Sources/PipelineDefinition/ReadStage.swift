import ChangeModel
import JQ
import Mapping

/// A rule as far as it could be read, and the places that later checks point at.
struct ReadRule {
    var position: Position
    /// `nil` where it is missing or wrong.
    var match: Located<PathPattern>?
    var exclude: [Located<PathPattern>] = []
    var continues = false
    var operations: Set<Operation>
    var compression = Compression.none
    var from: Located<Template>?
    /// `nil` where it is wrong.
    var decode: Decoding?
    var hasJQ = false
    var jq: JQProgram?
    var shape = Shape()
    /// The first key that says something of it, and where; `nil` where none does.
    var shapeKey: Located<String>?
    var ttl: Located<Template>?
    var set: [ReadField]?
    var to: [Located<String>]?
    /// What earlier stages give it.
    var scope = StageScope()

    /// `nil` where anything that it needs is wrong.
    var rule: Rule? {
        guard let match, let decode else { return nil }
        var rule = Rule(
            match: match.value, exclude: exclude.map(\.value), continues: continues, operations: operations,
            compression: compression, from: from?.value, decode: decode, set: set?.map(\.definition),
            to: to?.map(\.value), line: position.line)
        rule.jq = jq
        rule.shape = shape
        rule.ttl = ttl?.value
        return rule
    }

    func writes(to sink: String) -> Bool {
        to?.contains { $0.value == sink } ?? true
    }
}

/// What a stage may know of what earlier ones have made.
struct StageScope {
    var captures: [String] = []
    /// Whether `value` can have members.
    var hasMembers = false
    /// Their names, where they are known.
    var members: [String]?
}

/// A stage as far as it could be read.
enum ReadStage {
    case rules([ReadRule])
    /// `nil` where it is wrong.
    case other(TransformSpecification.Stage?, Position)

    var rules: [ReadRule]? { if case .rules(let rules) = self { rules } else { nil } }

    var specification: TransformSpecification.Stage? {
        switch self {
        case .rules(let rules): .rules(rules.compactMap(\.rule))
        case .other(let stage, _): stage
        }
    }
}

extension ReadStage {
    /// Notes what the stage knows of earlier ones, and adds what it gives to later ones.
    mutating func take(_ scope: inout StageScope) {
        switch self {
        case .rules(var rules):
            var next = StageScope(captures: scope.captures)
            var members: [String]? = []
            for index in rules.indices {
                rules[index].scope = scope
                for name in rules[index].match?.value.captureNames ?? [] where !next.captures.contains(name) {
                    next.captures.append(name)
                }
                next.hasMembers = next.hasMembers || rules[index].set != nil || rules[index].hasMembers
                if let known = rules[index].set?.map(\.definition.name) ?? rules[index].knownMembers {
                    members?.append(contentsOf: known)
                } else {
                    members = nil
                }
            }
            next.members = members
            scope = next
            self = .rules(rules)
        case .other(.jq?, _), .other(nil, _):
            scope.hasMembers = true
            scope.members = nil
        case .other:
            break
        }
    }
}

extension ReadRule {
    /// Whether `value` can have members that templates name.
    var hasMembers: Bool {
        guard let decode else { return true }
        return decode.givesMembers || hasJQ || (decode == .none && from == nil && scope.hasMembers)
    }

    /// The members that `value` can have, where that is sure.
    var knownMembers: [String]? {
        var known: [String]?
        if hasJQ {
            known = nil
        } else if decode == .url {
            known = ["scheme", "user", "password", "host", "port", "path", "fragment", "query"]
        } else if decode == Decoding.none, from == nil {
            known = scope.members
        }
        if let select = shape.select, shape.flatten == nil { known = select.compactMap(\.first) }
        guard var known, shape.flatten == nil else { return nil }
        known += shape.rename.compactMap(\.to.first) + shape.defaults.compactMap(\.name.first)
        return known
    }
}
