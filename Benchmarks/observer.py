#!/usr/bin/env python3
"""What `capture: observer` sees, survives and costs, on an ensemble of three servers of its own.

    python3 -m venv venv && venv/bin/pip install kazoo
    swift build -c release --product millrace
    venv/bin/python Benchmarks/observer.py [--values 100000] [--leaders 10] [--kills 50] [--nodes 1000000] [--effect 5] [--freeze 60]

Each number asks for one part; 0 leaves it out.
--values    one node is set so often, as fast as clients can: changes in the log of an observer and of a watch, side by side
--leaders   the leader is killed so often under eight writers: acknowledged writes that are missing, changes that came twice, the
            order of zxids, and the time from the kill until the log goes on
--kills     Millrace is killed with -9 so often under eight writers: the same, and whether a snapshot was needed
--nodes     a tree of so many nodes, read from the snapshot and by watches: seconds and peak memory
--effect    so many pairs of runs: acknowledged writes a second with and without an observer attached, and their ratio
--freeze    the observer is stopped by SIGSTOP for so many seconds under load, and continued
"""
import importlib.util, json, logging, os, random, re, signal, socket, statistics, subprocess, sys, threading, time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

spec = importlib.util.spec_from_file_location("throughput", os.path.dirname(os.path.abspath(__file__)) + "/cluster-throughput.py")
throughput = importlib.util.module_from_spec(spec)
spec.loader.exec_module(throughput)

# Connections that servers end are what is asked for.
logging.disable(logging.CRITICAL)

PIPELINE = """
name: bench
source: {{zookeeper: {{connect: "${{ZOOKEEPER}}", paths: [/t], {capture}}}}}
log: {{directory: "${{MILLRACE_DATA}}", segment: 256MiB}}
transform:
  - rules:
      - {{match: "/t/{{rest...}}", to: []}}
sinks:
  out: {{write: stdout}}
"""
CAPTURES = {"observer": 'capture: observer, quorum: "${QUORUM}"', "watch": "capture: watch"}
WRITERS = 8


class Writers(threading.Thread):
    """Eight sessions, each setting a node of its own, one set after the other: what was acknowledged, by node."""

    def __init__(self, hosts, name):
        super().__init__()
        self.hosts, self.name_, self.over, self.acknowledged = hosts, name, threading.Event(), [set() for _ in range(WRITERS)]

    def run(self):
        threads = [threading.Thread(target=self.write, args=(number,)) for number in range(WRITERS)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]

    def write(self, number):
        client, value, path = KazooClient(self.hosts, timeout=10), 0, f"/t/{self.name_}{number}"
        client.start(60)
        client.ensure_path(path)
        while not self.over.is_set():
            value += 1
            try:
                client.set(path, b"%d" % value)
                self.acknowledged[number].add(value)
            except KazooException:
                time.sleep(0.02)
        client.stop()
        client.close()

    def count(self):
        return sum(map(len, self.acknowledged))

    def stop(self):
        self.over.set()
        self.join()
        return self.count()


class Bench(throughput.Bench):
    def start_ensemble(self):
        self.ports = [[throughput.free_port() for _ in range(3)] for _ in range(3)]
        for number in range(3):
            data = f"{self.work}/zookeeper{number}"
            os.makedirs(data)
            with open(data + "/myid", "w") as file:
                file.write(f"{number + 1}\n")
            with open(f"{self.work}/zoo{number}.cfg", "w") as file:
                file.write(f"dataDir={data}\nclientPort={self.ports[number][0]}\nclientPortAddress=127.0.0.1\ntickTime=500\n"
                           "initLimit=60\nsyncLimit=20\nadmin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=srvr\n")
                for server, (_, quorum, election) in enumerate(self.ports):
                    file.write(f"server.{server + 1}=127.0.0.1:{quorum}:{election}\n")
        self.servers = [self.start_server(number) for number in range(3)]
        self.hosts = ",".join(f"127.0.0.1:{client}" for client, _, _ in self.ports)
        self.quorum = ",".join(f"127.0.0.1:{quorum}" for _, quorum, _ in self.ports)
        self.leader()

    def start_server(self, number):
        java = [argument.replace("-Xmx512m", "-Xmx1500m") for argument in throughput.JAVA]
        java[1:1] = ["-Dzookeeper.snapshotSizeFactor=0", "-Dzookeeper.commitLogCount=5000", "-Dzookeeper.4lw.commands.whitelist=srvr"]
        return self.start(java + [f"{self.work}/zoo{number}.cfg"], f"server{number}")

    def modes(self):
        """What each server says that it is; nothing from one that serves nobody."""
        for number in range(3):
            try:
                with socket.create_connection(("127.0.0.1", self.ports[number][0]), 1) as connection:
                    connection.sendall(b"srvr")
                    answer = b"".join(iter(lambda: connection.recv(4096), b""))
                yield re.search(b"Mode: ([a-z]+)|$", answer)[1]
            except OSError:
                yield None

    def leader(self):
        """Waits until one leads."""
        for _ in range(600):
            modes = list(self.modes())
            if b"leader" in modes:
                return modes.index(b"leader")
            time.sleep(0.1)
        sys.exit("nobody leads")

    def heal(self):
        """Waits until all serve. One that comes back too late for the next failure has 3.8.0 lose what was committed: a follower that
        is behind takes the new epoch before it has written what it lacks ("NEWLEADER ACK ... is from a different epoch"), and wins
        the election after that."""
        for _ in range(600):
            if None not in self.modes():
                return
            time.sleep(0.1)
        sys.exit("a server does not come back")

    def environment(self, data, target=None):
        return dict(os.environ, ZOOKEEPER=self.hosts, QUORUM=self.quorum, MILLRACE_DATA=data)

    def attach(self, capture, name):
        log = open(f"{self.work}/{name}.log", "a")
        process = subprocess.Popen([throughput.MILLRACE, "run", self.definition(name, PIPELINE.format(capture=CAPTURES[capture]))],
                                   env=self.environment(f"{self.work}/{name}"), cwd=self.work, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def said(self, name):
        return open(f"{self.work}/{name}.log").read()

    def wait_for(self, name, process, text="the tree is read"):
        while text not in self.said(name):
            if process.poll() is not None:
                sys.exit(self.said(name))
            time.sleep(0.02)

    def end(self, name):
        answer = subprocess.run([throughput.MILLRACE, "log", "stat", "--json", f"{self.work}/{name}/bench"], capture_output=True, text=True)
        return json.loads(answer.stdout)["end_offset"] if answer.returncode == 0 else 0

    def settle(self, name):
        """Waits until nothing more arrives."""
        last, since = -1, time.time()
        while time.time() - since < 3:
            now = self.end(name)
            if now != last:
                last, since = now, time.time()
            time.sleep(0.2)
        return last

    def changes(self, name):
        dump = subprocess.Popen([throughput.MILLRACE, "log", "dump", f"{self.work}/{name}/bench"], stdout=subprocess.PIPE, text=True)
        for line in dump.stdout:
            yield json.loads(line)
        if dump.wait() != 0:
            sys.exit("the log cannot be read")

    def stop_process(self, process):
        process.terminate()
        process.wait(60)

    def client(self):
        client = KazooClient(self.hosts, timeout=30)
        client.start(60)
        return client

    # The parts.

    def values(self, count):
        client = self.client()
        client.ensure_path("/t/one")
        running = {capture: self.attach(capture, f"values-{capture}") for capture in CAPTURES}
        for capture, process in running.items():
            self.wait_for(f"values-{capture}", process)
        begin, waiting = time.perf_counter(), []
        for value in range(count):
            waiting.append(client.set_async("/t/one", b"%d" % value))
            if len(waiting) >= 2000:
                [answer.get() for answer in waiting]
                waiting = []
        [answer.get() for answer in waiting]
        seconds = time.perf_counter() - begin
        for capture, process in running.items():
            self.settle(f"values-{capture}")
            self.stop_process(process)
            versions = [change["source"]["version"] for change in self.changes(f"values-{capture}")
                        if change["op"] == "u" and change["source"]["path"] == "/t/one"]
            gaps = sum(1 for left, right in zip(versions, versions[1:]) if right <= left)
            print(f"values: {count} sets in {seconds:.1f} s; {capture}: {len(versions)} in the log, {gaps} out of order", flush=True)
        client.stop()

    def judge(self, name, writers, what):
        """Missing, twice, out of order."""
        self.settle(name)
        found, zxids, twice = [set() for _ in range(WRITERS)], [], 0
        for change in self.changes(name):
            # A gap has no path; how many there are the log file says.
            match = re.fullmatch(rf"/t/{writers.name_}(\d+)", change["source"].get("path", ""))
            if not match or change["op"] not in ("u", "c", "r"):
                continue
            zxids.append((change["source"]["zxid"], change["index"]))
            data = change["after"]
            if data:
                twice += int(data) in found[int(match[1])]
                found[int(match[1])].add(int(data))
        missing = sum(len(acknowledged - arrived) for acknowledged, arrived in zip(writers.acknowledged, found))
        disorder = sum(1 for left, right in zip(zxids, zxids[1:]) if right <= left)
        print(f"{what}: {writers.count()} acknowledged, missing {missing}, twice {twice}, out of order {disorder}; "
              f"trees sent {self.said(name).count('the tree is sent')}, histories gone {self.said(name).count('history is gone')}", flush=True)

    def leaders(self, count):
        self.client().ensure_path("/t")
        process = self.attach("observer", "leaders")
        self.wait_for("leaders", process)
        writers, resumed, served = Writers(self.hosts, "l"), [], []
        writers.start()
        time.sleep(2)
        for _ in range(count):
            leader = self.leader()
            self.servers[leader].kill()
            self.servers[leader].wait()
            begin, is_back = time.perf_counter(), False
            # What the log had not written yet is no resumption.
            time.sleep(0.3)
            end, acknowledged, answered = self.end("leaders"), writers.count(), None
            while self.end("leaders") == end:
                passed = time.perf_counter() - begin
                if answered is None and writers.count() > acknowledged:
                    answered = passed
                # Two servers may need long to agree, or never do (3.8.0: "NEWLEADER ACK is from a different epoch").
                if passed > 10 and not is_back:
                    self.servers[leader], is_back = self.start_server(leader), True
                time.sleep(0.02)
            resumed.append(time.perf_counter() - begin)
            served.append(resumed[-1] if answered is None else answered)
            if not is_back:
                self.servers[leader] = self.start_server(leader)
            self.heal()
            time.sleep(2)
        writers.stop()
        self.judge("leaders", writers, f"{count} leaders killed")
        late = [log - write for log, write in zip(resumed, served)]
        print(f"until a write is acknowledged again: median {statistics.median(served):.1f} s, worst {max(served):.1f} s; from there until "
              f"the log goes on: median {statistics.median(late):.1f} s, worst {max(late):.1f} s", flush=True)
        self.stop_process(process)

    def kills(self, count):
        self.client().ensure_path("/t")
        process = self.attach("observer", "kills")
        self.wait_for("kills", process)
        writers = Writers(self.hosts, "k")
        writers.start()
        for _ in range(count):
            time.sleep(random.uniform(0.05, 1))
            process.kill()
            process.wait()
            process = self.attach("observer", "kills")
        time.sleep(1)
        writers.stop()
        self.judge("kills", writers, f"{count} times kill -9")
        self.stop_process(process)

    def nodes(self, count):
        client, waiting = self.client(), []
        client.ensure_path("/t/tree")
        for first in range(0, count, 500):
            if first % 10000 == 0:
                client.ensure_path(f"/t/tree/{first // 10000}")
            transaction = client.transaction()
            for number in range(first, min(first + 500, count)):
                transaction.create(f"/t/tree/{number // 10000}/n{number}", b"x" * 100)
            waiting.append(transaction.commit_async())
            if len(waiting) >= 20:
                [answer.get() for answer in waiting]
                waiting = []
        [answer.get() for answer in waiting]
        client.stop()
        for capture in CAPTURES:
            run = [throughput.MILLRACE, "run", "--until-caught-up", self.definition("nodes", PIPELINE.format(capture=CAPTURES[capture]))]
            begin = time.perf_counter()
            process = subprocess.Popen(run, env=self.environment(f"{self.work}/nodes-{capture}"), cwd=self.work,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            print(f"nodes: {self.end(f'nodes-{capture}')} by {capture}: {time.perf_counter() - begin:.1f} s, peak memory "
                  f"{usage.ru_maxrss / 1024:.0f} MiB, exit {process.returncode}", flush=True)

    def load(self, name, seconds=8):
        writers = Writers(self.hosts, name)
        writers.start()
        time.sleep(seconds)
        begin = time.perf_counter()
        return writers.stop() / (seconds + time.perf_counter() - begin)

    def effect(self, pairs):
        self.client().ensure_path("/t")
        self.load("warm")
        rates = {False: [], True: []}
        for pair in range(pairs):
            for attached in (False, True) if pair % 2 else (True, False):
                process = self.attach("observer", "effect") if attached else None
                if process:
                    time.sleep(2)
                rates[attached].append(self.load("e"))
                if process:
                    self.stop_process(process)
        ratios = [with_ / without for with_, without in zip(rates[True], rates[False])]
        print(f"writes a second, {WRITERS} writers: without {statistics.median(rates[False]):.0f}, with an observer "
              f"{statistics.median(rates[True]):.0f}; ratios of the pairs {' '.join(f'{ratio:.2f}' for ratio in ratios)}, "
              f"median {statistics.median(ratios):.2f}", flush=True)

    def freeze(self, seconds):
        self.client().ensure_path("/t")
        process = self.attach("observer", "freeze")
        self.wait_for("freeze", process)
        writers = Writers(self.hosts, "f")
        writers.start()
        rates = []
        for phase in ("before", "frozen", "after"):
            if phase == "frozen":
                process.send_signal(signal.SIGSTOP)
            if phase == "after":
                process.send_signal(signal.SIGCONT)
            start = writers.count()
            length = seconds if phase == "frozen" else 10
            time.sleep(length)
            rates.append(f"{phase} {(writers.count() - start) / length:.0f}")
        writers.stop()
        print(f"freeze: writes a second {', '.join(rates)}", flush=True)
        self.judge("freeze", writers, f"frozen for {seconds} s")
        self.stop_process(process)

    def run(self):
        self.start_ensemble()
        for part in ("values", "leaders", "kills", "effect", "freeze", "nodes"):
            if getattr(self.options, part):
                getattr(self, part)(getattr(self.options, part))


if __name__ == "__main__":
    throughput.main(Bench, values=100_000, leaders=10, kills=50, nodes=1_000_000, effect=5, freeze=60)
