/// Why a test server could not be started or used; the text is meant for the person who reads the test's
/// failure.
public struct TestServerError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}
