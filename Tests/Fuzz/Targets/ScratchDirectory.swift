import Foundation
import SystemPackage

/// An empty directory, in memory where there is such a place; it goes with the object.
final class ScratchDirectory: Sendable {
    let path: FilePath

    init() throws {
        let shared = "/dev/shm"
        let parent =
            FileManager.default.isWritableFile(atPath: shared)
            ? URL(fileURLWithPath: shared) : FileManager.default.temporaryDirectory
        let url = parent.appendingPathComponent("millrace-fuzz-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = FilePath(url.path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }
}
