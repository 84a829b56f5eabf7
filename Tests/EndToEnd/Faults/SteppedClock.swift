import Foundation
import TestServers

/// A library for LD_PRELOAD that steps the wall clock of one process, built with the toolchain's own compiler.
struct SteppedClock {
    private static let source = """
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t id, struct timespec *now) {
            if (syscall(SYS_clock_gettime, id, now) != 0) return -1;
            const char *path = getenv("CLOCK_STEP_FILE");
            if (id != CLOCK_REALTIME || path == NULL) return 0;
            FILE *file = fopen(path, "re");
            long step = 0;
            if (file != NULL) {
                if (fscanf(file, "%ld", &step) != 1) step = 0;
                fclose(file);
            }
            now->tv_sec += step;
            return 0;
        }
        """

    let environment: [String: String]
    private let file: String

    init(directory: String) throws {
        let source = "\(directory)/clock.c"
        let library = "\(directory)/clock.so"
        file = "\(directory)/clock-step"
        try SteppedClock.source.write(toFile: source, atomically: false, encoding: .utf8)
        let compiler = try ServerProcess(
            executable: "clang", arguments: ["-shared", "-fPIC", "-o", library, source],
            logFile: "\(directory)/clock.log")
        guard try compiler.waitBlocking(timeout: .seconds(60)) == 0 else {
            throw TestServerError("clang could not build the clock: see \(directory)/clock.log")
        }
        environment = ["LD_PRELOAD": library, "CLOCK_STEP_FILE": file]
        try step("0")
    }

    private func step(_ seconds: String) throws {
        try seconds.write(toFile: file, atomically: true, encoding: .utf8)
    }

    /// Further back than ever before.
    func stepBack(seconds: Int) throws {
        let before = Int(try String(contentsOfFile: file, encoding: .utf8)) ?? 0
        try step("\(before - seconds)")
    }
}
