extension Bytes {
    /// Appends what `append(contentsOf:)` would, and counts no reference to it.
    mutating func append(copying bytes: borrowing Bytes) {
        bytes.withUnsafeBytes { self.append(contentsOf: $0) }
    }

    mutating func append(copying text: borrowing String) {
        text.utf8.span.withUnsafeBufferPointer { self.append(contentsOf: $0) }
    }

    mutating func append(copying text: borrowing Substring) {
        text.utf8.span.withUnsafeBufferPointer { self.append(contentsOf: $0) }
    }
}
