#!/usr/bin/env python3
"""Records what a ZooKeeper leader sends to an observer, from a real ensemble, and what this file's own decoder reads in
it: the golden bytes of ZooKeeperClient's observer. usage: record-observer.py VERSION CLASSPATH [DIRECTORY]

Debian's: record-observer.py 3.8 /usr/share/java/slf4j-simple.jar:/usr/share/java/zookeeper.jar
Writes observer-{snap,diff}-VERSION.bin and .txt beside itself. Python and a JVM, nothing else.
"""
import os, shutil, signal, socket, struct, subprocess, sys, tempfile, time

WORLD = [(31, "world", "anyone")]


def ustr(text): return struct.pack(">i", len(text.encode())) + text.encode()
def buf(data): return struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
def acl(entries): return struct.pack(">i", len(entries)) + b"".join(
    struct.pack(">i", p) + ustr(s) + ustr(i) for p, s, i in entries)


class Client:
    """A session that asks for one thing at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.xid = 0
        self.send(struct.pack(">iqiq", 0, 0, 10000, 0) + buf(b"\0" * 16) + b"\0")
        assert self.receive()

    def send(self, body): self.socket.sendall(struct.pack(">i", len(body)) + body)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more: raise EOFError
            data += more
        return data

    def receive(self): return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def ask(self, op, body):
        self.xid += 1
        self.send(struct.pack(">ii", self.xid, op) + body)
        while True:
            reply = self.receive()
            xid, _, error = struct.unpack(">iqi", reply[:16])
            if xid == self.xid: return error

    def create(self, path, data=b"", flags=0, entries=WORLD, op=1, ttl=None):
        body = ustr(path) + buf(data) + acl(entries) + struct.pack(">i", flags)
        return self.ask(op, body + (struct.pack(">q", ttl) if ttl else b""))

    def set(self, path, data, version=-1): return self.ask(5, ustr(path) + buf(data) + struct.pack(">i", version))
    def delete(self, path): return self.ask(2, ustr(path) + struct.pack(">i", -1))

    def multi(self, *parts):
        body = b"".join(struct.pack(">i?i", op, False, -1) + part for op, part in parts)
        return self.ask(14, body + struct.pack(">i?i", -1, True, -1))

    def close(self):
        self.ask(-11, b"")
        self.socket.close()


class Reader:
    def __init__(self, take): self.take = take
    def int(self): return struct.unpack(">i", self.take(4))[0]
    def long(self): return struct.unpack(">q", self.take(8))[0]
    def bool(self): return self.take(1) != b"\0"
    def buf(self):
        n = self.int()
        return None if n < 0 else self.take(n)
    def str(self): return (self.buf() or b"").decode()
    def acl(self): return [(self.int(), self.str(), self.str()) for _ in range(max(self.int(), 0))]


def over(data):
    """A reader of bytes, and how many remain."""
    position = [0]

    def take(n):
        assert position[0] + n <= len(data), "cut short"
        position[0] += n
        return data[position[0] - n:position[0]]
    return Reader(take), lambda: len(data) - position[0]


def lists(entries): return ",".join(f"{p}:{s}:{i}" for p, s, i in entries)
def hexed(data): return (data or b"").hex() or "-"


def operation(kind, body, part=False):
    r, left = over(body)
    if kind in (1, 15, 19, 21):
        path, data, entries = r.str(), r.buf(), r.acl()
        name = "container" if kind == 19 else "persistent"
        if kind in (1, 15) and r.bool(): name = "ephemeral"
        parent = r.int()
        if kind == 21: name = f"ttl({r.long()})"
        return f"create {path} {hexed(data)} {lists(entries)} {name} {parent}"
    if kind == 2: return f"delete {r.str()} false"
    if kind == 20: return f"delete {r.str()} true"
    if kind == 5: return f"setData {r.str()} {hexed(r.buf())} {r.int()}"
    if kind == 16: return f"reconfigure {r.str()} {hexed(r.buf())} {r.int()}"
    if kind == 7: return f"setACL {r.str()} {lists(r.acl())} {r.int()}"
    if kind == 13: return f"check {r.str()} {r.int()}"
    # In a difference, parts that a failed multi has undone are errors with the body of what they were.
    if kind == -1: return f"error {min(r.int(), 0)}"
    if kind == -10: return f"createSession {r.int()}"
    if kind == -11:
        if left() in (0, 12): return "closeSession nil"
        return "closeSession " + ",".join(r.str() for _ in range(r.int()))
    if kind == 14:
        return "multi " + " | ".join(operation(r.int(), r.buf()) for _ in range(r.int()))
    raise ValueError(kind)


def transaction(data):
    session, cxid, zxid, ms, kind = struct.unpack(">qiqqi", data[:32])
    return f"transaction {zxid} {session} {cxid} {ms} {operation(kind, data[32:])}"


class Observer:
    """Attaches, answers what must be answered, and keeps every byte that comes."""

    def __init__(self, port, zxid):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.settimeout(10)
        self.bytes, self.lines, self.last = b"", [], zxid
        self.claim = zxid
        self.reader = Reader(self.take)

    def take(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more: raise EOFError
            data += more
        self.bytes += data
        return data

    def send(self, kind, zxid, data): self.socket.sendall(struct.pack(">iq", kind, zxid) + buf(data) + b"\xff" * 4)

    def until(self, last):
        """Follows until a transaction is here and the leader has said UPTODATE."""
        live = getattr(self, "live", False)
        if not self.bytes: self.send(16, 0, struct.pack(">qiq", -1, 0x10000, 0))
        proposals = []
        while not (live and self.last >= last):
            kind, zxid, data = self.reader.int(), self.reader.long(), self.reader.buf()
            for _ in range(max(self.reader.int(), 0)): self.reader.str(), self.reader.str()
            if kind == 17: self.send(18, self.claim, struct.pack(">i", -1))
            elif kind == 13: self.lines.append("difference")
            elif kind == 15: self.snapshot(zxid)
            elif kind == 10: self.send(3, zxid, None)
            elif kind == 12:
                self.live = live = True
                self.lines.append(f"upToDate {self.last}")
                self.send(3, zxid, None)
            elif kind == 2: proposals.append(data)
            elif kind in (4, 9): self.transaction(zxid, proposals.pop(0))
            elif kind in (8, 19): self.transaction(zxid, data[8:] if kind == 19 else data)
            elif kind == 5: self.send(5, zxid, b"")
            else: raise ValueError(kind)

    def transaction(self, zxid, data):
        if zxid <= self.last: return
        self.last = zxid
        self.lines.append(transaction(data))

    def snapshot(self, zxid):
        r = self.reader
        self.lines.append(f"snapshot {zxid}")
        for _ in range(r.int()): r.long(), r.int()
        known = {-1: WORLD}
        for _ in range(r.int()):
            number = r.long()
            known[number] = r.acl()
        while (path := r.str()) != "/":
            data, number = r.buf(), r.long()
            stat = struct.unpack(">qqqqiiiqq", r.take(60))
            self.lines.append(f"node {path or '/'} {hexed(data)} {lists(known[number])} "
                              + " ".join(map(str, stat)))
        assert r.str() == "BenWasHere"
        self.last = zxid
        self.lines.append(f"snapshotEnd {zxid}")


def free(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets: s.close()
    return ports


def leads(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"srvr")
            return b"Mode: leader" in s.recv(4096)
    except OSError: return False




def main():
    version, classpath = sys.argv[1], sys.argv[2]
    target = sys.argv[3] if len(sys.argv) > 3 else os.path.dirname(os.path.abspath(__file__))
    root = tempfile.mkdtemp()
    ports = free(10)
    members = "".join(f"server.{i + 1}=127.0.0.1:{ports[i]}:{ports[3 + i]}\n" for i in range(3))
    servers = []
    try:
        for i in range(3):
            home = f"{root}/{i + 1}"
            os.mkdir(home)
            open(f"{home}/myid", "w").write(f"{i + 1}\n")
            open(f"{home}/zoo.cfg", "w").write(
                f"tickTime=200\ninitLimit=50\nsyncLimit=20\ndataDir={home}\nclientPort={ports[6 + i]}\n"
                f"clientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\n"
                f"reconfigEnabled=true\nskipACL=yes\nextendedTypesEnabled=true\n{members}")
            servers.append(subprocess.Popen(
                ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dzookeeper.skipACL=yes",
                 "-Dznode.container.checkIntervalMs=1000",
                 "-Dzookeeper.extendedTypesEnabled=true", "-Dzookeeper.forceSync=no", "-cp", classpath,
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{home}/zoo.cfg"],
                stdout=open(f"{home}/log", "w"), stderr=subprocess.STDOUT))
        deadline = time.time() + 30
        leader = None
        while leader is None and time.time() < deadline:
            leader = next((i for i in range(3) if leads(ports[6 + i])), None)
            time.sleep(0.1)
        assert leader is not None, "no leader"
        client = Client(ports[6 + leader])
        client.create("/golden", "ein Wert \u20ac".encode())
        client.create("/golden/null", None)
        client.create("/golden/guarded", b"\0\xff", entries=[(1, "world", "anyone"), (31, "digest", "a:b\u00e9")])
        client.create("/golden/container", op=19, flags=4)
        client.create("/golden/ttl", b"t", op=21, flags=5, ttl=3_600_000)
        client.create("/golden/mine", b"e", flags=1)
        for i in range(20): client.set("/golden", str(i).encode())
        snap = Observer(ports[leader], 0)
        snap.until(0)
        start = snap.last
        other = Client(ports[6 + (leader + 1) % 3])
        for n in ("z", "a", "m"): assert other.create(f"/golden/gone-{n}", b"", flags=1, op=15) == 0
        client.create("/golden/sequence-", b"s", flags=2)
        client.create("/golden")                                    # exists: an error
        client.set("/golden/null", b"now something")
        client.ask(7, ustr("/golden/null") + acl([(5, "ip", "127.0.0.1")]) + struct.pack(">i", -1))
        client.multi((13, ustr("/golden") + struct.pack(">i", 20)), (1, ustr("/golden/m") + buf(b"1") + acl(WORLD)
                     + struct.pack(">i", 0)), (5, ustr("/golden/m") + buf(b"2") + struct.pack(">i", 0)),
                     (2, ustr("/golden/guarded") + struct.pack(">i", -1)))
        client.multi((5, ustr("/golden/m") + buf(b"never") + struct.pack(">i", -1)),
                     (2, ustr("/golden/missing") + struct.pack(">i", -1)))
        client.create("/golden/container/child")
        client.delete("/golden/container/child")                    # the container goes by itself
        other.close()
        changed = (leader + 2) % 3
        joining = f"server.{changed + 1}=127.0.0.1:{ports[changed]}:{ports[3 + changed]}:participant;127.0.0.1:{ports[9]}"
        error = client.ask(16, ustr(joining) + buf(None) + buf(None) + struct.pack(">q", -1))
        print("reconfig:", error)
        deadline = time.time() + 10
        while client.ask(3, ustr("/golden/container") + b"\0") == 0 and time.time() < deadline: time.sleep(0.1)
        client.set("/golden", b"end")
        client.send(struct.pack(">ii", 99, 3) + ustr("/golden") + b"\0")
        last = struct.unpack(">iqi", client.receive()[:16])[1]
        snap.until(last)
        diff = Observer(ports[leader], start)
        diff.until(last)
        for name, observer in (("snap", snap), ("diff", diff)):
            base = f"{target}/observer-{name}-{version}"
            open(base + ".bin", "wb").write(observer.bytes)
            open(base + ".txt", "w").write("".join(line + "\n" for line in observer.lines))
            print(base, len(observer.bytes), "bytes", len(observer.lines), "lines")
    finally:
        for server in servers: server.kill()
        for server in servers: server.wait()
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
