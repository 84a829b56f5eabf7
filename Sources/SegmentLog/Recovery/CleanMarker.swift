import SystemPackage

/// The file `clean`: written by an orderly close, taken away by the next open.
enum CleanMarker {
    private static func path(_ directory: FilePath) -> FilePath { directory.appending("clean") }

    static func put(_ directory: FilePath, end: Int64) throws(LogError) {
        try AtomicFile.replace(path(directory), with: Array("\(end)\n".utf8))
    }

    /// The end that the last close wrote down, if there is one; the marker is gone afterwards.
    static func take(_ directory: FilePath) throws(LogError) -> Int64? {
        guard let bytes = try? AtomicFile.read(path(directory), limit: 64) else { return nil }
        try AtomicFile.remove(path(directory))
        try AtomicFile.syncDirectory(directory)
        return end(bytes)
    }

    /// The end that the last close wrote down, if there is one; the marker stays.
    static func look(_ directory: FilePath) -> Int64? {
        (try? AtomicFile.read(path(directory), limit: 64)).flatMap(end)
    }

    private static func end(_ bytes: [UInt8]) -> Int64? {
        Int64(String(decoding: bytes.dropLast(), as: UTF8.self))
    }
}
