import Foundation
import SystemPackage

/// What libFuzzer, whose `main` it is, runs: `Scripts/fuzz` says the target and a directory for its files.
private enum FuzzProgram {
    static let target: FuzzTarget = {
        let name = variable("MILLRACE_FUZZ_TARGET")
        guard let target = FuzzTarget(rawValue: name) else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
            fatalError("there is no target '\(name)', but \(names)")
        }
        return target
    }()

    static let directory = FilePath(variable("MILLRACE_FUZZ_DIRECTORY"))

    private static func variable(_ name: String) -> String {
        guard let value = ProcessInfo.processInfo.environment[name] else { fatalError("\(name) is not set") }
        return value
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do {
        let input = Array(UnsafeBufferPointer(start: bytes, count: count))
        try FuzzProgram.target.run(input, in: FuzzProgram.directory)
    } catch {
        // A trap is what libFuzzer takes for a failure.
        fatalError("\(error)")
    }
    return 0
}
