import Foundation

extension Decoding {
    /// The bytes that base64 text (RFC 4648 section 4, padded) stands for; white space is ignored.
    public static func base64(_ text: Bytes) -> Bytes? {
        let digits = text.filter { $0 != 0x20 && !(0x09...0x0d).contains($0) }
        return Data(base64Encoded: Data(digits)).map(Bytes.init)
    }
}
