#!/usr/bin/env python3
"""The same log delivered to one Redis and to a cluster of three masters, on servers of its own.

    python3 -m venv venv && venv/bin/pip install kazoo redis
    swift build -c release --product millrace
    venv/bin/python Benchmarks/cluster-throughput.py [--changes 600000] [--nodes 5000] [--bytes 100] [--repetitions 5]

Fills a log once, then delivers copies of it with `millrace run --until-caught-up`, as strings, as hashes of three fields
and into 16 streams. Which of the two comes first changes from one repetition to the next. Prints for each kind the median
of changes a second, from the start of the delivery until all is confirmed; their ratio; and the CPU seconds of Millrace
(a whole run, start and comparison of the tree included) and of the servers.
"""
import argparse, json, os, shutil, socket, statistics, subprocess, sys, tempfile, time

import redis
from kazoo.client import KazooClient

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MILLRACE = os.environ.get("MILLRACE_PROGRAM", ROOT + "/.build/release/millrace")
JAVA = ["java", "-Xmx512m", "-Dzookeeper.forceSync=no", "-cp", "/usr/share/java/slf4j-simple.jar:/usr/share/java/zookeeper.jar",
        "org.apache.zookeeper.server.quorum.QuorumPeerMain"]
STREAMS = 16

PIPELINE = """
name: throughput
source: {{zookeeper: {{connect: "${{ZOOKEEPER}}", paths: [/t], session_timeout: 1s}}}}
log: {{directory: "${{MILLRACE_DATA}}"}}
transform:
  - rules:
      - {{match: "/t/{{group}}/{{node}}", {rule}}}
sinks:
  out: {{{sink}}}
"""
CAPTURE = PIPELINE.format(rule="to: []", sink="write: stdout")
KINDS = {
    "string": PIPELINE.format(rule="on: [c, u, r, d]", sink='redis: "${REDIS}", write: string, key: "k:{path}"'),
    "hash": PIPELINE.format(rule='set: {group: "{group}", node: "{node}", version: "{version}"}',
                            sink='redis: "${REDIS}", write: hash, key: "h:{path}"'),
    "stream": PIPELINE.format(rule="on: [c, u, r, d]", sink='redis: "${REDIS}", write: stream, key: "changes:{group}"'),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, options):
        self.options, self.work, self.processes = options, tempfile.mkdtemp(prefix="millrace-bench-"), []
        self.zookeeper_port = free_port()
        self.one, self.cluster = [], []

    def start(self, arguments, name):
        os.makedirs(f"{self.work}/{name}", exist_ok=True)
        log = open(f"{self.work}/{name}.log", "ab")
        self.processes.append(subprocess.Popen(arguments, stdout=log, stderr=log, cwd=f"{self.work}/{name}"))
        return self.processes[-1]

    def start_redis(self, name, *more):
        port = free_port()
        process = self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *more], name)
        return port, process

    def start_servers(self):
        with open(self.work + "/zoo.cfg", "w") as file:
            file.write(f"dataDir={self.work}/zookeeper\nclientPort={self.zookeeper_port}\nclientPortAddress=127.0.0.1\n"
                       "admin.enableServer=false\nmaxClientCnxns=0\n")
        self.start(JAVA + [self.work + "/zoo.cfg"], "zookeeper")
        self.one = [self.start_redis("one")]
        self.cluster = [self.start_redis(f"node{number}", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
                        for number in range(3)]
        time.sleep(2)
        nodes = [f"127.0.0.1:{port}" for port, _ in self.cluster]
        subprocess.run(["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"], check=True, stdout=subprocess.DEVNULL)
        self.urls = {"one": f"redis://127.0.0.1:{self.one[0][0]}/0", "cluster": "redis+cluster://" + ",".join(nodes)}

    def environment(self, data, target="one"):
        return dict(os.environ, ZOOKEEPER=f"127.0.0.1:{self.zookeeper_port}", REDIS=self.urls[target], MILLRACE_DATA=data)

    def definition(self, name, text):
        with open(f"{self.work}/{name}.yaml", "w") as file:
            file.write(text)
        return file.name

    def fill(self, after_round=lambda done, rounds: None):
        """Writes every node again and again; each time all has to be in the log first, or values would coalesce."""
        client, paths = KazooClient(f"127.0.0.1:{self.zookeeper_port}"), []
        client.start(30)
        client.create("/t", b"")
        for group in range(STREAMS):
            client.create(f"/t/g{group}", b"")
        paths = [f"/t/g{number % STREAMS}/n{number}" for number in range(self.options.nodes)]
        file, data = self.definition("capture", CAPTURE), self.work + "/full"
        with open(self.work + "/capture.log", "wb") as log:
            capture = subprocess.Popen([MILLRACE, "run", file], env=self.environment(data), cwd=self.work, stdout=log, stderr=log)
        self.processes.append(capture)
        while "the tree is read" not in open(self.work + "/capture.log").read():
            if capture.poll() is not None:
                sys.exit(open(self.work + "/capture.log").read())
            time.sleep(0.05)
        self.rounds = -(-self.options.changes // len(paths))
        for round in range(self.rounds):
            for first in range(0, len(paths), 500):
                transaction = client.transaction()
                for path in paths[first:first + 500]:
                    value = (b"%d-" % round).ljust(self.options.bytes, b"x")
                    transaction.create(path, value) if round == 0 else transaction.set_data(path, value)
                transaction.commit()
            end = 1 + STREAMS + (round + 1) * len(paths)
            while self.log_end(data) < end:
                time.sleep(0.01)
            after_round(round + 1, self.rounds)
        capture.terminate()
        if capture.wait(30) != 0:
            sys.exit(open(self.work + "/capture.log").read())
        client.stop()
        return self.rounds * len(paths)

    def log_end(self, data):
        answer = subprocess.run([MILLRACE, "log", "stat", "--json", data + "/throughput"], capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)["end_offset"]

    def deliver(self, kind, target):
        """Changes a second, and the CPU seconds of Millrace and of the servers."""
        servers = getattr(self, target)
        for port, _ in servers:
            redis.Redis(port=port).flushall()
        data = self.work + "/copy"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self.work + "/full", data)
        before = [cpu(process.pid) for _, process in servers]
        run = subprocess.Popen([MILLRACE, "run", "--until-caught-up", self.definition(kind, KINDS[kind])], cwd=self.work,
                               env=self.environment(data, target), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.processes.append(run)
        begin, end, said = None, None, []
        for line in run.stderr:
            said.append(line)
            if "delivery starts" in line:
                begin = time.perf_counter()
            if "caught up" in line:
                end = time.perf_counter()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode != 0 or begin is None or end is None:
            sys.exit("".join(said))
        self.check(kind, servers)
        used = sum(cpu(process.pid) - start for (_, process), start in zip(servers, before))
        return self.total / (end - begin), usage.ru_utime + usage.ru_stime, used

    def check(self, kind, servers):
        pattern = {"string": "k:*", "hash": "h:*", "stream": "changes:*"}[kind]
        found = 0
        for port, _ in servers:
            client = redis.Redis(port=port)
            keys = list(client.scan_iter(pattern, count=1000))
            found += sum(client.xlen(key) for key in keys) if kind == "stream" else len(keys)
        expected = self.total if kind == "stream" else self.options.nodes
        if found != expected:
            sys.exit(f"{kind}: {found} instead of {expected}")

    def run(self):
        self.start_servers()
        self.total = self.fill()
        print(f"{self.total} changes of {self.options.bytes} bytes, {self.options.repetitions} repetitions, medians")
        print(f"{'':8}{'one/s':>10}{'cluster/s':>11}{'ratio':>7}   CPU seconds: millrace one, cluster; servers one, cluster")
        for kind in KINDS:
            results = {"one": [], "cluster": []}
            for repetition in range(self.options.repetitions):
                for target in sorted(results, reverse=repetition % 2 == 0):
                    results[target].append(self.deliver(kind, target))
            one, cluster = ([statistics.median(column) for column in zip(*results[target])] for target in ("one", "cluster"))
            print(f"{kind:8}{one[0]:10.0f}{cluster[0]:11.0f}{cluster[0] / one[0]:7.2f}   "
                  f"{one[1]:8.2f} {cluster[1]:8.2f}; {one[2]:8.2f} {cluster[2]:8.2f}", flush=True)

    def stop(self):
        for process in self.processes:
            if process.returncode is None:
                process.kill()
        shutil.rmtree(self.work, ignore_errors=True)


def main(kind, **defaults):
    options = argparse.ArgumentParser()
    for name, default in defaults.items():
        options.add_argument("--" + name, type=int, default=default)
    bench = kind(options.parse_args())
    try:
        bench.run()
    finally:
        bench.stop()


if __name__ == "__main__":
    main(Bench, changes=600_000, nodes=5000, bytes=100, repetitions=5)
