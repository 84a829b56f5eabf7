#!/usr/bin/env python3
"""What the log is worth: an emptied Redis rebuilt, and a stretch of time delivered elsewhere; on servers of its own.

    python3 -m venv venv && venv/bin/pip install kazoo redis
    swift build -c release --product millrace
    venv/bin/python Benchmarks/replay.py [--nodes 200000] [--changes 1000000] [--bytes 100]

Writes every node again and again until the log holds so many changes, delivers them as strings, empties Redis and
rebuilds it with `millrace replay --state`; beside it, in the same run, what a script takes that reads the tree with kazoo
and writes it with redis-py. Then delivers everything since a moment in between into a stream of another Redis, and counts
it against what was written since.
"""
import datetime, importlib.util, json, os, subprocess, sys, time

import redis
from kazoo.client import KazooClient

HERE = os.path.dirname(os.path.abspath(__file__))
specification = importlib.util.spec_from_file_location("cluster_throughput", HERE + "/cluster-throughput.py")
common = importlib.util.module_from_spec(specification)
specification.loader.exec_module(common)

DEFINITION = common.PIPELINE.format(rule="on: [c, u, r, d]", sink='redis: "${REDIS}", write: string, key: "k:{path}"')
STREAM = common.PIPELINE.format(rule="on: [c, u, r, d]", sink='redis: "${REDIS}", write: stream, key: "events"')


class Bench(common.Bench):
    def start_servers(self):
        with open(self.work + "/zoo.cfg", "w") as file:
            file.write(f"dataDir={self.work}/zookeeper\nclientPort={self.zookeeper_port}\nclientPortAddress=127.0.0.1\n"
                       "admin.enableServer=false\nmaxClientCnxns=0\n")
        self.start([argument.replace("512m", "2g") for argument in common.JAVA] + [self.work + "/zoo.cfg"], "zookeeper")
        self.own, self.other = self.start_redis("own")[0], self.start_redis("other")[0]
        self.urls = {"one": f"redis://127.0.0.1:{self.own}/0", "other": f"redis://127.0.0.1:{self.other}/0"}
        time.sleep(2)

    def millrace(self, *arguments, target="one"):
        begin = time.perf_counter()
        result = subprocess.run([common.MILLRACE, *arguments], cwd=self.work, env=self.environment(self.work + "/full", target),
                                capture_output=True, text=True)
        return result, time.perf_counter() - begin

    def must(self, *arguments, **options):
        result, seconds = self.millrace(*arguments, **options)
        if result.returncode != 0:
            sys.exit(f"{arguments}: {result.returncode}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}")
        return result, seconds

    def mark(self, done, rounds):
        """Half way a moment is noted with nothing under way."""
        if done == rounds // 2:
            time.sleep(1)
            self.moment = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.offset = self.log_end(self.work + "/full")
            time.sleep(1)

    def script(self):
        """What a script does that reads the tree and writes it: pipelined both ways, as one would."""
        begin, client, server = time.perf_counter(), KazooClient(f"127.0.0.1:{self.zookeeper_port}"), redis.Redis(port=self.other)
        client.start(30)
        level = ["/t"]
        written = 0
        while level:
            following = []
            for first in range(0, len(level), 1000):
                paths = level[first:first + 1000]
                answers = [(path, client.get_async(path), client.get_children_async(path)) for path in paths]
                pipeline = server.pipeline(transaction=False)
                for path, data, children in answers:
                    pipeline.set("k:" + path, data.get()[0])
                    following += [path + "/" + child for child in children.get()]
                    written += 1
                pipeline.execute()
            level = following
        client.stop()
        server.flushall()
        return written, time.perf_counter() - begin

    def run(self):
        self.start_servers()
        total = self.fill(self.mark)
        end = self.log_end(self.work + "/full")
        print(f"{self.options.nodes} nodes, {total} changes of {self.options.bytes} bytes, offsets up to {end}")
        file, stream = self.definition("keys", DEFINITION), self.definition("events", STREAM)
        _, seconds = self.must("run", "--until-caught-up", file)
        print(f"delivered as strings         {seconds:7.2f} s")
        keys = redis.Redis(port=self.own)
        before = keys.dbsize()
        keys.flushall()
        result, seconds = self.must("replay", file, "--state", "--json")
        delivered = json.loads(result.stdout)["sinks"][0]["delivered"]
        print(f"emptied, replay --state      {seconds:7.2f} s, {delivered} changes; keys {keys.dbsize() - 1}, before {before - 1}")
        result, verified = self.millrace("verify", file)
        print(f"verify                       {verified:7.2f} s, exit {result.returncode}: {result.stdout.strip().splitlines()[-1]}")
        written, script = self.script()
        print(f"a script that reads the tree {script:7.2f} s, {written} keys: {script / seconds:.1f} times as long")
        result, seconds = self.must("replay", stream, "--from", self.moment, "--into", self.urls["other"], "--json")
        found = redis.Redis(port=self.other).xlen("events")
        print(f"replay --from {self.moment} {seconds:.2f} s: {found} entries, {end - self.offset} written since")
        if found != end - self.offset or result.returncode != 0:
            sys.exit("not what was written")


if __name__ == "__main__":
    common.main(Bench, changes=1_000_000, nodes=200_000, bytes=100)
