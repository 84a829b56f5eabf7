#!/usr/bin/env python3
"""What `millrace log dump --follow` costs the pipeline that it watches, and how late it is; on a ZooKeeper of its own.

    python3 -m venv venv && venv/bin/pip install kazoo
    swift build -c release --product millrace
    venv/bin/python Benchmarks/log-follow.py [--changes 100000] [--rate 5000] [--pairs 5]

Writes so many changes a second, and then as fast as it can; each time once with nobody watching and once followed, in
pairs, whose order changes. The watcher's lines go to a file. Prints the changes a second that were in the log, the CPU
seconds of `millrace run` and of the watcher, and medians. At last it prints how long after ZooKeeper's time stamp (full
milliseconds) a line was there, of one change each 10 ms.
"""
import importlib.util, json, os, statistics, subprocess, sys, time

from kazoo.client import KazooClient

HERE = os.path.dirname(os.path.abspath(__file__))
specification = importlib.util.spec_from_file_location("cluster_throughput", HERE + "/cluster-throughput.py")
common = importlib.util.module_from_spec(specification)
specification.loader.exec_module(common)

NODES, BATCH = 5000, 100


class Bench(common.Bench):
    def start_servers(self):
        with open(self.work + "/zoo.cfg", "w") as file:
            file.write(f"dataDir={self.work}/zookeeper\nclientPort={self.zookeeper_port}\nclientPortAddress=127.0.0.1\n"
                       "admin.enableServer=false\nmaxClientCnxns=0\n")
        self.start(common.JAVA + [self.work + "/zoo.cfg"], "zookeeper")
        time.sleep(2)
        self.client = KazooClient(f"127.0.0.1:{self.zookeeper_port}")
        self.client.start(30)
        self.paths = [f"/t/g{number % 16}/n{number}" for number in range(NODES)]
        for path in self.paths:
            self.client.ensure_path(path)
        self.data = self.work + "/data"
        self.log = self.data + "/throughput"
        log = open(self.work + "/capture.log", "wb")
        self.capture = subprocess.Popen([common.MILLRACE, "run", self.definition("capture", common.CAPTURE)],
                                        env=self.environment(self.data), cwd=self.work, stdout=log, stderr=log)
        self.processes.append(self.capture)
        while "the tree is read" not in open(self.work + "/capture.log").read():
            if self.capture.poll() is not None:
                sys.exit(open(self.work + "/capture.log").read())
            time.sleep(0.05)

    def environment(self, data, target=None):
        return dict(os.environ, ZOOKEEPER=f"127.0.0.1:{self.zookeeper_port}", MILLRACE_DATA=data)

    def follow(self, output):
        watcher = subprocess.Popen([common.MILLRACE, "log", "dump", self.log, "--from", "latest", "--follow"], stdout=output)
        self.processes.append(watcher)
        time.sleep(0.5)
        return watcher

    def load(self, rate, isFollowed):
        """Changes a second, CPU seconds of the pipeline and of the watcher."""
        with open(self.work + "/lines", "wb") as output:
            watcher = self.follow(output) if isFollowed else None
            first, before = self.log_end(self.data), common.cpu(self.capture.pid)
            begin = time.perf_counter()
            written = 0
            while written < self.options.changes:
                transaction = self.client.transaction()
                for number in range(written, written + BATCH):
                    transaction.set_data(self.paths[number % NODES], (b"%d-" % number).ljust(100, b"x"))
                transaction.commit()
                written += BATCH
                if rate:
                    time.sleep(max(0, begin + written / rate - time.perf_counter()))
                elif written % NODES == 0:
                    # Or values would coalesce, and there would be less to write.
                    while self.log_end(self.data) < first + written:
                        time.sleep(0.01)
            while self.log_end(self.data) < first + written:
                time.sleep(0.01)
            taken = time.perf_counter() - begin
            used = common.cpu(self.capture.pid) - before
            if not watcher:
                return written / taken, used, 0
            while sum(1 for _ in open(self.work + "/lines", "rb")) < written:
                time.sleep(0.05)
            watching = common.cpu(watcher.pid)
            watcher.terminate()
            watcher.wait()
            return written / taken, used, watching

    def late(self, count=300):
        watcher = self.follow(subprocess.PIPE)
        lateness = []
        for number in range(count):
            self.client.set(self.paths[0], b"%d" % number)
            line = watcher.stdout.readline()
            lateness.append(time.time() * 1000 - json.loads(line)["ts_ms"])
            time.sleep(0.01)
        watcher.terminate()
        watcher.wait()
        lateness.sort()
        print(f"a line is there after {statistics.median(lateness):.0f} ms in the median, 99 % after {lateness[-4]:.0f}, worst {lateness[-1]:.0f}")

    def run(self):
        self.start_servers()
        print(f"{'':22}{'changes/s':>12}{'run CPU':>10}{'watcher CPU':>14}")
        for rate in (self.options.rate, 0):
            runs = {False: [], True: []}
            for pair in range(self.options.pairs):
                for isFollowed in (False, True) if pair % 2 == 0 else (True, False):
                    runs[isFollowed].append(self.load(rate, isFollowed))
            name = f"{rate}/s" if rate else "at full speed"
            medians = {key: [statistics.median(column) for column in zip(*value)] for key, value in runs.items()}
            for isFollowed in (False, True):
                speed, used, watching = medians[isFollowed]
                print(f"{name + (', followed' if isFollowed else ', alone'):22}{speed:12,.0f}{used:8.2f} s{watching:12.2f} s")
            ratios = sorted(followed[0] / alone[0] for alone, followed in zip(runs[False], runs[True]))
            print(f"{name}: followed / alone {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}), "
                  f"CPU {medians[True][1] / medians[False][1]:.3f}", flush=True)
        self.late()
        self.client.stop()


if __name__ == "__main__":
    common.main(Bench, changes=100_000, rate=5_000, pairs=5)
