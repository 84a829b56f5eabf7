/// A place in a definition file, counted from 1; columns count Unicode scalars.
public struct Position: Sendable, Hashable, Comparable {
    public var line: Int
    public var column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static func < (left: Position, right: Position) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// One thing that is wrong, or looks wrong, in a definition.
public struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
    public enum Severity: String, Sendable, Hashable {
        case error, warning
    }

    public var file: String
    public var line: Int
    public var column: Int
    public var severity: Severity
    /// What is wrong. Never quotes credentials or a Redis URL.
    public var message: String
    /// What would put it right, where that is known.
    public var fix: String?

    public init(
        file: String, line: Int, column: Int, severity: Severity = .error, message: String, fix: String? = nil
    ) {
        self.file = file
        self.line = line
        self.column = column
        self.severity = severity
        self.message = message
        self.fix = fix
    }

    /// `file:line:column: error: message (fix)`
    public var description: String {
        "\(file):\(line):\(column): \(severity.rawValue): \(message)\(fix.map { " (\($0))" } ?? "")"
    }
}

/// A definition file that cannot be read at all; what is wrong inside one is a `Diagnostic`.
public struct DefinitionFileError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Code: String, Sendable, Hashable {
        case notFound, notReadable, notAFile
    }

    public var code: Code
    public var file: String

    public init(code: Code, file: String) {
        self.code = code
        self.file = file
    }

    public var description: String {
        switch code {
        case .notFound: "\(file): there is no such file"
        case .notReadable: "\(file): cannot be read"
        case .notAFile: "\(file): is a directory, not a definition"
        }
    }
}
