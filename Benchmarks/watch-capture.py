#!/usr/bin/env python3
"""Watch capture from ZooKeeper to Redis, on servers of its own, beside what a user would script.

    python3 -m venv venv && venv/bin/pip install kazoo redis
    swift build -c release --product millrace
    venv/bin/python Benchmarks/watch-capture.py [--nodes 100000] [--changes 100000] [--rate 5000] [--writers 4]

Prints, from one run: seconds for a snapshot by Millrace and by a kazoo and redis-py script, and their ratio; then, under
a load of sets, the rate written and carried, the delay from ZooKeeper's time to the log, memory, and the CPU of
each process. --rate 0 writes as fast as the writers can.
"""
import argparse, json, os, random, shutil, signal, socket, subprocess, sys, tempfile, time

import redis
from kazoo.client import KazooClient

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MILLRACE = os.environ.get("MILLRACE_PROGRAM", ROOT + "/.build/release/millrace")
PIPELINE = ROOT + "/Pipelines/quickstart.yaml"
JAVA = ["java", "-Xmx1g", "-Dzookeeper.forceSync=no", "-cp", "/usr/share/java/slf4j-simple.jar:/usr/share/java/zookeeper.jar",
        "org.apache.zookeeper.server.quorum.QuorumPeerMain"]

WRITER = """
import sys, time
from kazoo.client import KazooClient
address, changes, nodes, lane, lanes, rate = sys.argv[1], *map(int, sys.argv[2:7])
client = KazooClient(address); client.start()
begin, waiting = time.time(), []
for number in range(lane, changes, lanes):
    if rate: time.sleep(max(0, begin + number / rate - time.time()))
    node = number * 7919 % nodes
    waiting.append(client.set_async(f"/t/d{node % 100}/n{node}", b"%d-" % number + b"x" * 200))
    if len(waiting) >= 400:
        for answer in waiting: answer.get(60)
        waiting = []
for answer in waiting: answer.get(60)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM")) // 1024


def in_batches(items, operation, size=1000):
    for start in range(0, len(items), size):
        for answer in [operation(item) for item in items[start:start + size]]:
            yield answer.get(60)


def scripted_snapshot(client, store):
    """What a user would write: list, read in batches, pipeline into Redis."""
    level = ["/t"]
    while level:
        values = list(in_batches(level, client.get_async))
        pipe = store.pipeline(transaction=False)
        for path, (data, stat) in zip(level, values):
            pipe.set("zk:" + path, data)
            pipe.xadd("zk:changes", {"op": "r", "path": path, "data": data, "zxid": stat.mzxid, "version": stat.version})
        pipe.execute()
        parents = [path for path, (_, stat) in zip(level, values) if stat.numChildren]
        level = [f"{path}/{name}" for path, names in zip(parents, in_batches(parents, client.get_children_async)) for name in names]


def main():
    options = argparse.ArgumentParser()
    for name, default in [("nodes", 100_000), ("changes", 100_000), ("rate", 5000), ("writers", 4)]:
        options.add_argument("--" + name, type=int, default=default)
    options = options.parse_args()
    work, processes = tempfile.mkdtemp(prefix="millrace-bench-"), []
    zookeeper_port, redis_port = free_port(), free_port()

    def start(arguments, log, **more):
        processes.append(subprocess.Popen(arguments, stdout=open(f"{work}/{log}", "ab"), stderr=subprocess.STDOUT, **more))
        return processes[-1]

    with open(work + "/zoo.cfg", "w") as file:
        file.write(f"dataDir={work}/zookeeper\nclientPort={zookeeper_port}\nclientPortAddress=127.0.0.1\n"
                   "admin.enableServer=false\nmaxClientCnxns=0\n")
    try:
        zookeeper = start(JAVA + [work + "/zoo.cfg"], "zookeeper.log")
        server = start(["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", work], "redis.log")
        address = f"127.0.0.1:{zookeeper_port}"
        environment = dict(os.environ, ZOOKEEPER=address, REDIS=f"redis://127.0.0.1:{redis_port}/0", MILLRACE_DATA=work + "/data")
        time.sleep(2)
        client, store = KazooClient(address), redis.Redis(port=redis_port)
        client.start(30)
        client.create("/t", b"")
        for number in range(100):
            client.create(f"/t/d{number}", b"")
        paths = [f"/t/d{number % 100}/n{number}" for number in range(options.nodes)]
        for _ in in_batches(paths, lambda path: client.create_async(path, random.randbytes(100).hex().encode())):
            pass
        expected = options.nodes + 102  # with /t, its 100 directories and the root

        begin = time.time()
        scripted_snapshot(client, store)
        scripted = time.time() - begin
        store.flushall()
        begin = time.time()
        millrace = start([MILLRACE, "run", PIPELINE], "millrace.log", env=environment, cwd=work)
        while store.xlen("zk:changes") < expected:
            if millrace.poll() is not None:
                sys.exit(open(work + "/millrace.log").read())
            time.sleep(0.01)
        own = time.time() - begin
        print(f"snapshot of {expected} nodes: millrace {own:.2f} s (start included), script {scripted:.2f} s, ratio {scripted / own:.1f}")

        before = [cpu(process.pid) for process in (millrace, zookeeper, server)]
        begin = time.time()
        arguments = [str(value) for value in (options.changes, options.nodes)]
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, address, *arguments, str(lane), str(options.writers), str(options.rate)])
                   for lane in range(options.writers)]
        for writer in writers:
            writer.wait()
        written = time.time() - begin
        while store.xlen("zk:changes") < expected + options.changes and time.time() < begin + written + 30:
            time.sleep(0.01)
        carried = time.time() - begin
        used = [cpu(process.pid) - start for process, start in zip((millrace, zookeeper, server), before)]
        total = store.xlen("zk:changes") - expected
        print(f"load: {options.changes / written:.0f} sets/s, {total} carried, the last {carried - written:.2f} s after the writers' end")
        print(f"CPU: millrace {used[0] / max(total, 1) * 1e6:.0f} us a change; ZooKeeper {used[1]:.1f} s, Redis {used[2]:.1f} s of {carried:.1f} s")
        dump = subprocess.run([MILLRACE, "log", "dump", work + "/data/quickstart", "--from", str(expected)], capture_output=True, text=True)
        delays = sorted(change["captured_ms"] - change["ts_ms"] for change in map(json.loads, dump.stdout.splitlines()))
        if delays:
            print(f"from ZooKeeper's time to the log: median {delays[len(delays) // 2]} ms, p99 {delays[len(delays) * 99 // 100]} ms, most {delays[-1]} ms")
        print(f"memory: {peak_memory(millrace.pid)} MB at the most")
        millrace.send_signal(signal.SIGTERM)
        print("exit code", millrace.wait(30))
    finally:
        for process in processes:
            process.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
