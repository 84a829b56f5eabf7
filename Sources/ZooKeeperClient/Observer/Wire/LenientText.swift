internal import NIOCore

extension ByteBuffer {
    /// A ustring as a Java server writes it: null is empty, and a character beyond U+FFFF comes as two surrogates of three
    /// bytes each, which is not UTF-8. The server has checked names already; one that it should not have let through
    /// must not stop all that follows, so the unreadable becomes U+FFFD.
    mutating func takeJavaString() throws(MalformedBytes) -> String {
        let bytes = try takeBuffer()
        if let text = String(validating: bytes, as: UTF8.self) { return text }
        return String(decoding: ByteBuffer.joiningSurrogates(bytes), as: UTF8.self)
    }

    private static func joiningSurrogates(_ bytes: [UInt8]) -> [UInt8] {
        var joined: [UInt8] = []
        joined.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            if let high = surrogate(bytes, index, 0xA0), let low = surrogate(bytes, index + 3, 0xB0),
                let scalar = Unicode.Scalar(0x10000 + (high << 10 | low))
            {
                joined.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
                index += 6
            } else {
                joined.append(bytes[index])
                index += 1
            }
        }
        return joined
    }

    /// The ten bits of the surrogate at an index, if one is there; its second byte begins at `first`.
    private static func surrogate(_ bytes: [UInt8], _ index: Int, _ first: UInt8) -> UInt32? {
        guard index + 2 < bytes.count, bytes[index] == 0xED, bytes[index + 1] & 0xF0 == first,
            bytes[index + 2] & 0xC0 == 0x80
        else { return nil }
        return UInt32(bytes[index + 1] & 0x0F) << 6 | UInt32(bytes[index + 2] & 0x3F)
    }

    /// A vector of access control entries.
    mutating func takeACL() throws(MalformedBytes) -> [ACL] {
        try takeVector(itemBytes: 12) { item throws(MalformedBytes) in
            let permissions = ACL.Permissions(rawValue: try item.take())
            return ACL(permissions, scheme: try item.takeJavaString(), id: try item.takeJavaString())
        }
    }
}
