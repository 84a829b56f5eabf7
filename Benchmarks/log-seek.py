#!/usr/bin/env python3
"""Seeking in a log of 100 million small records.

    swift build -c release --product millrace
    swift build -c release --package-path Benchmarks --product biglog
    python3 Benchmarks/log-seek.py [RECORDS] [DIRECTORY] [RECORDS-PER-BATCH]

Makes the log once (about 4 GB for 100 million records), then prints for each place the time from the start of the process to
its first record (median and worst of five, the operating system has the files cached) and the most memory that was resident;
then the time of `log stat` and, with --verify behind the others, of `log verify`, which reads all of it.
"""
import os, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MILLRACE = os.environ.get("MILLRACE_PROGRAM", ROOT + "/.build/release/millrace")
RECORDS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000_000
DIRECTORY = sys.argv[2] if len(sys.argv) > 2 else "/tmp/millrace-big-log"
BATCH = sys.argv[3] if len(sys.argv) > 3 else "1000"
FIRST_TIME = 1_700_000_000_000


def first_record(*arguments):
    """Seconds to the first line, the peak in MB, and the line."""
    begin = time.perf_counter()
    process = subprocess.Popen([MILLRACE, "log", "dump", DIRECTORY, *arguments], stdout=subprocess.PIPE)
    line = process.stdout.readline()
    taken = time.perf_counter() - begin
    with open(f"/proc/{process.pid}/status") as status:
        peak = next((int(row.split()[1]) / 1024 for row in status if row.startswith("VmHWM")), 0)
    process.stdout.close()
    process.kill()
    process.wait()
    return taken, peak, line


def whole(*arguments):
    begin = time.perf_counter()
    subprocess.run([MILLRACE, "log", *arguments, DIRECTORY], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main():
    if not os.path.exists(DIRECTORY):
        begin = time.perf_counter()
        subprocess.run([ROOT + "/Benchmarks/.build/release/biglog", DIRECTORY, str(RECORDS), BATCH], check=True)
        print(f"made {RECORDS:,} records in {time.perf_counter() - begin:.0f} s")
    size = sum(entry.stat().st_size for entry in os.scandir(DIRECTORY))
    print(f"{size / 1e9:.1f} GB in {sum(entry.name.endswith('.lz4') for entry in os.scandir(DIRECTORY))} segments")
    middle, batches = RECORDS // 2, RECORDS // int(BATCH)
    text = lambda part: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((FIRST_TIME + int(batches * part)) / 1000))
    places = [("start", []), ("offset in the middle", ["--from", str(middle)]), ("offset near the end", ["--from", str(RECORDS - 3)]),
              ("time in the middle", ["--from", text(0.5)]), ("time near the end", ["--from", text(0.98)]),
              ("zxid in the middle", ["--from", f"zxid:{middle}"])]
    print(f"{'':24}{'median':>10}{'worst':>10}{'memory':>10}")
    for name, arguments in places:
        runs = sorted(first_record(*arguments) for _ in range(5))
        assert runs[0][2], name
        print(f"{name:24}{runs[2][0] * 1000:7.1f} ms{runs[4][0] * 1000:7.1f} ms{max(run[1] for run in runs):7.0f} MB")
    print(f"log stat: {whole('stat') * 1000:.0f} ms")
    if "--verify" in sys.argv:
        print(f"log verify: {whole('verify'):.0f} s")


if __name__ == "__main__":
    main()
