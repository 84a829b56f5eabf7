import CCrypto

/// The digests that there are.
public enum DigestAlgorithm: String, Sendable, Hashable, CaseIterable {
    case sha256, sha512, sha1, md5

    var hexadecimalDigits: Int {
        switch self {
        case .sha256: 64
        case .sha512: 128
        case .sha1: 40
        case .md5: 32
        }
    }

    private var implementation: OpaquePointer? {
        switch self {
        case .sha256: EVP_sha256()
        case .sha512: EVP_sha512()
        case .sha1: EVP_sha1()
        case .md5: EVP_md5()
        }
    }

    /// The digest in hexadecimal digits; with a key the HMAC of it.
    func hexadecimal(of bytes: Bytes, key: Bytes? = nil) -> String {
        var digest = Bytes(repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        if let key {
            _ = HMAC(implementation, key, Int32(clamping: key.count), bytes, bytes.count, &digest, &count)
        } else {
            EVP_Digest(bytes, bytes.count, &digest, &count, implementation, nil)
        }
        let digits = Bytes("0123456789abcdef".utf8)
        return String(
            decoding: digest.prefix(Int(count)).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }
}
