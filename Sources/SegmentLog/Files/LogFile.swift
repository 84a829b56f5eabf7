import Glibc
public import SystemPackage

/// One open file; all calls of the log to the operating system are here.
final class LogFile {
    let path: FilePath
    private let descriptor: Int32

    enum Mode { case read, write, create }

    init(_ path: FilePath, _ mode: Mode) throws(LogError) {
        let flags =
            switch mode {
            case .read: O_RDONLY
            case .write: O_RDWR
            case .create: O_RDWR | O_CREAT
            }
        let descriptor = path.withPlatformString { open($0, flags | O_CLOEXEC, 0o640) }
        guard descriptor >= 0 else { throw LogFile.failure(path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    var size: Int64 {
        get throws(LogError) {
            var info = stat()
            guard fstat(descriptor, &info) == 0 else { throw LogFile.failure(path) }
            return Int64(info.st_size)
        }
    }

    /// As many bytes as there are, at most `count`.
    func read(at position: Int64, count: Int) throws(LogError) -> [UInt8] {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled,
                    off_t(position) + filled)
                if got < 0, Glibc.errno == EINTR { continue }
                if got < 0 { failed = true }
                if got <= 0 { break }
                filled += got
            }
        }
        if failed { throw LogFile.failure(path) }
        return bytes
    }

    func write(_ bytes: [UInt8], at position: Int64) throws(LogError) {
        var written = 0
        while written < bytes.count {
            let got = bytes.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress.map { $0 + written }, bytes.count - written,
                    off_t(position) + written)
            }
            if got < 0, Glibc.errno == EINTR { continue }
            guard got > 0 else { throw LogFile.failure(path) }
            written += got
        }
    }

    /// Appends a range of another file at a position of this one; returns the position behind it.
    func copy(_ range: Range<Int64>, of other: LogFile, to position: Int64) throws(LogError) -> Int64 {
        var source = range.lowerBound
        var target = position
        while source < range.upperBound {
            let bytes = try other.read(at: source, count: Int(min(range.upperBound - source, 1 << 20)))
            guard !bytes.isEmpty else {
                throw LogError(code: .io, message: "ends early", file: other.path.string, position: source)
            }
            try write(bytes, at: target)
            source += Int64(bytes.count)
            target += Int64(bytes.count)
        }
        return target
    }

    func truncate(to size: Int64) throws(LogError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw LogFile.failure(path) }
    }

    func sync() throws(LogError) {
        guard fdatasync(descriptor) == 0 else { throw LogFile.failure(path) }
    }

    /// Takes the kernel's lock on the file; `false` where another process has it.
    func lock() throws(LogError) -> Bool {
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        if Glibc.errno == EWOULDBLOCK { return false }
        throw LogFile.failure(path)
    }

    static func failure(_ path: FilePath) -> LogError {
        let number = Glibc.errno
        let code: LogError.Code =
            switch number {
            case ENOENT, ENOTDIR: .notFound
            case EACCES, EPERM, EROFS: .permission
            case ENOSPC, EDQUOT: .outOfSpace
            default: .io
            }
        return LogError(
            code: code, message: String(cString: strerror(number)), file: path.string, errno: number)
    }
}

/// Files that are replaced as a whole: after a crash either the old or the new is there.
public enum AtomicFile {
    /// Writes a temporary file, makes it durable and renames it. Makes missing directories.
    public static func replace(_ path: FilePath, with bytes: [UInt8]) throws(LogError) {
        try replace(path) { file throws(LogError) in try file.write(bytes, at: 0) }
    }

    /// The same for contents that are written piece by piece.
    static func replace(
        _ path: FilePath, _ write: (LogFile) throws(LogError) -> Void
    ) throws(LogError) {
        let directory = path.removingLastComponent()
        try makeDirectory(directory)
        let temporary = FilePath(path.string + ".new")
        let file = try LogFile(temporary, .create)
        try file.truncate(to: 0)
        try write(file)
        try file.sync()
        let code = temporary.withPlatformString { from in path.withPlatformString { rename(from, $0) } }
        guard code == 0 else { throw LogFile.failure(path) }
        try syncDirectory(directory)
    }

    /// The whole file. Throws `.notFound`, or `.corrupt` where it is larger than `limit`.
    public static func read(_ path: FilePath, limit: Int) throws(LogError) -> [UInt8] {
        let file = try LogFile(path, .read)
        let size = try file.size
        guard size <= limit else {
            throw LogError(code: .corrupt, message: "is larger than \(limit) bytes", file: path.string)
        }
        return try file.read(at: 0, count: Int(size))
    }

    /// The names in a directory, in no order; temporary files left out.
    public static func names(in directory: FilePath) throws(LogError) -> [String] {
        guard let stream = directory.withPlatformString({ opendir($0) }) else {
            throw LogFile.failure(directory)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix("."), !name.hasSuffix(".new") { names.append(name) }
        }
        return names
    }

    /// Removes a file; one that is not there is removed already.
    public static func remove(_ path: FilePath) throws(LogError) {
        guard path.withPlatformString({ unlink($0) }) == 0 || Glibc.errno == ENOENT else {
            throw LogFile.failure(path)
        }
    }

    static func makeDirectory(_ path: FilePath) throws(LogError) {
        if path.isEmpty { return }
        if path.withPlatformString({ mkdir($0, 0o750) }) == 0 { return }
        switch Glibc.errno {
        case EEXIST:
            return
        case ENOENT:
            try makeDirectory(path.removingLastComponent())
            guard path.withPlatformString({ mkdir($0, 0o750) }) == 0 || Glibc.errno == EEXIST else {
                throw LogFile.failure(path)
            }
        default:
            throw LogFile.failure(path)
        }
    }

    static func syncDirectory(_ path: FilePath) throws(LogError) {
        let target = path.isEmpty ? FilePath(".") : path
        let descriptor = target.withPlatformString { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw LogFile.failure(target) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw LogFile.failure(target) }
    }
}
