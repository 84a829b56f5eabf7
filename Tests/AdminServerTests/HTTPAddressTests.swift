import Testing

@testable import AdminServer

/// `--http`: this machine alone, unless a host says otherwise.
@Suite struct HTTPAddressTests {
    @Test(arguments: [
        ("8080", "127.0.0.1:8080"), (":8080", "127.0.0.1:8080"), ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("localhost:1", "localhost:1"), ("[::1]:80", "[::1]:80"), ("0", "127.0.0.1:0"),
        ("a-b.example:65535", "a-b.example:65535"),
    ])
    func takes(_ text: String, _ address: String) {
        #expect(HTTPAddress(text)?.description == address)
    }

    @Test(arguments: [
        "", ":", "host", "host:", "1:65536", "::1:80", "a b:80", ":-1", ":+1", "http://h:80", "[::1]",
    ])
    func refuses(_ text: String) {
        #expect(HTTPAddress(text) == nil)
    }
}
