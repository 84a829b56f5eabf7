import SystemPackage

/// The file `clean`: written by an orderly close, taken away by the next open.
enum CleanMarker {
    private static func path(_ directory: FilePath) -> FilePath { directory.appending("clean") }

    static func put(_ directory: FilePath, end: Int64) throws(LogError) {
        try AtomicFile.replace(path(directory), with: Array("\(end)\n".utf8))
    }

    /// The end that the last close wrote down, if there is one; the marker is gone afterwards.
    static func take(_ directory: FilePath) throws(LogError) -> Int64? {
        let path = path(directory)
        guard let bytes = try? AtomicFile.read(path, limit: 64) else { return nil }
        try AtomicFile.remove(path)
        try AtomicFile.syncDirectory(directory)
        return Int64(String(decoding: bytes.dropLast(), as: UTF8.self))
    }
}
