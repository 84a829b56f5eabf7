#!/usr/bin/env python3
"""Records what a ZooKeeper leader sends to an observer, from a real ensemble, and what this file's own decoder reads in
it: the golden bytes of ZooKeeperClient's observer. usage: record-observer.py VERSION CLASSPATH [DIRECTORY]

Debian's: record-observer.py 3.8 /usr/share/java/slf4j-simple.jar:/usr/share/java/zookeeper.jar
Another one's: its classes or jars (zookeeper, zookeeper-jute), slf4j-api, slf4j-simple, snappy-java, metrics-core and
Netty's jars. A server that calls itself other than VERSION is refused. Python and a JVM, nothing else.

Writes, as .bin and .txt beside itself or into DIRECTORY:
  observer-snap-VERSION   a snapshot, then every type of transaction live
  observer-diff-VERSION   the same transactions as a difference from the leader's memory
  observer-log-VERSION    and from its log files, up to the last one of them
  observer-plain-VERSION  live, of servers that log neither digests nor the nodes of closed sessions
"""
import contextlib, os, shutil, socket, struct, subprocess, sys, tempfile, time

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
    def str(self):
        # Java writes a character beyond U+FFFF as two surrogates of three bytes each.
        text = (self.buf() or b"").decode("utf-8", "surrogatepass")
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
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
        self.claim, self.live = zxid, False
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

    def until(self, last, live=True):
        """Follows until a transaction is here and, with `live`, the leader has said UPTODATE."""
        if not self.bytes: self.send(16, 0, struct.pack(">qiq", -1, 0x10000, 0))
        proposals = []
        while not ((self.live or not live) and self.last >= last):
            kind, zxid, data = self.reader.int(), self.reader.long(), self.reader.buf()
            for _ in range(max(self.reader.int(), 0)): self.reader.str(), self.reader.str()
            if kind == 17: self.send(18, self.claim, struct.pack(">i", -1))
            elif kind == 13: self.lines.append("difference")
            elif kind == 15: self.snapshot(zxid)
            elif kind == 10: self.send(3, zxid, None)
            elif kind == 12:
                self.live = True
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


def serves(port):
    """What the server says of itself, or nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(b"srvr")
            text = b""
            while more := s.recv(4096): text += more
            return text.decode()
    except OSError: return ""


class Ensemble:
    """Three servers, and a session at their leader."""

    def __init__(self, root, classpath, flags):
        self.ports, self.servers = free(10), []
        ports = self.ports
        members = "".join(f"server.{i + 1}=127.0.0.1:{ports[i]}:{ports[3 + i]}\n" for i in range(3))
        for i in range(3):
            home = f"{root}/{i + 1}"
            os.mkdir(home)
            open(f"{home}/myid", "w").write(f"{i + 1}\n")
            open(f"{home}/zoo.cfg", "w").write(
                f"tickTime=200\ninitLimit=50\nsyncLimit=20\ndataDir={home}\nclientPort={ports[6 + i]}\n"
                f"clientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\n"
                f"reconfigEnabled=true\nskipACL=yes\nextendedTypesEnabled=true\n{members}")
            self.servers.append(subprocess.Popen(
                ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dzookeeper.skipACL=yes",
                 "-Dznode.container.checkIntervalMs=1000", "-Dzookeeper.snapshotSizeFactor=0",
                 "-Dzookeeper.admin.enableServer=false", "-Dzookeeper.extendedTypesEnabled=true",
                 "-Dzookeeper.forceSync=no", *flags, "-cp", classpath,
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", f"{home}/zoo.cfg"],
                stdout=open(f"{home}/log", "w"), stderr=subprocess.STDOUT))

    def elect(self, version):
        deadline = time.time() + 30
        while time.time() < deadline:
            for i in range(3):
                said = serves(self.ports[6 + i])
                if "Mode: leader" not in said: continue
                self.version = said.split("version: ")[1].split("-")[0].split(",")[0]
                assert self.version.startswith(version + "."), f"this is {self.version}"
                self.leader, self.client = i, Client(self.ports[6 + i])
                return
            time.sleep(0.1)
        raise TimeoutError("no leader")

    def observer(self, zxid): return Observer(self.ports[self.leader], zxid)

    def last_zxid(self):
        self.client.send(struct.pack(">ii", 99, 3) + ustr("/golden") + b"\0")
        return struct.unpack(">iqi", self.client.receive()[:16])[1]

    def gone(self, *paths):
        """Waits until the ensemble has removed nodes by itself."""
        deadline = time.time() + 15
        while any(self.client.ask(3, ustr(path) + b"\0") == 0 for path in paths):
            assert time.time() < deadline, "not removed"
            time.sleep(0.1)

    def rename(self):
        """Gives a follower another client port, which is a reconfig."""
        changed, ports = (self.leader + 2) % 3, self.ports
        joining = (f"server.{changed + 1}=127.0.0.1:{ports[changed]}:{ports[3 + changed]}:participant;"
                   f"127.0.0.1:{ports[9]}")
        return self.client.ask(16, ustr(joining) + buf(None) + buf(None) + struct.pack(">q", -1))


@contextlib.contextmanager
def ensemble(version, classpath, *flags):
    root = tempfile.mkdtemp()
    it = Ensemble(root, classpath, flags)
    try:
        it.elect(version)
        yield it
    finally:
        for server in it.servers: server.kill()
        for server in it.servers: server.wait()
        shutil.rmtree(root)


def tree(client):
    """A node of each kind."""
    ok = [client.create("/golden", "ein Wert \u20ac".encode()), client.create("/golden/null", None),
          client.create("/golden/guarded", b"\0\xff",
                        entries=[(1, "world", "anyone"), (31, "digest", "a:b\u00e9\U0001f511")]),
          client.create("/golden/container", op=19, flags=4),
          client.create("/golden/ttl", b"t", op=21, flags=5, ttl=3_600_000),
          client.create("/golden/mine", b"e", flags=1)]
    assert ok == [0] * 6, ok
    for i in range(20): client.set("/golden", str(i).encode())


def made(path, data=b"", flags=0): return ustr(path) + buf(data) + acl(WORLD) + struct.pack(">i", flags)


def every_type(servers):
    """A transaction of each type, and what becomes of those that fail."""
    client, ports = servers.client, servers.ports
    other = Client(ports[6 + (servers.leader + 1) % 3])
    for n in ("z", "a", "m"): assert other.create(f"/golden/gone-{n}", b"", flags=1, op=15) == 0
    assert client.create("/golden/sequence-", b"s", flags=2) == 0
    assert client.create("/golden/plain", None, op=15) == 0
    assert client.create("/golden/brief", b"b", op=19, flags=4) == 0
    assert client.create("/golden/timed", b"t", op=21, flags=5, ttl=1) == 0
    assert client.create("/golden") == -110
    client.set("/golden/null", b"now something")
    client.ask(7, ustr("/golden/null") + acl([(5, "ip", "127.0.0.1")]) + struct.pack(">i", -1))
    at_20, any_version = struct.pack(">i", 20), struct.pack(">i", -1)
    client.multi((13, ustr("/golden") + at_20), (1, made("/golden/m", b"1")),
                 (5, ustr("/golden/m") + buf(b"2") + struct.pack(">i", 0)), (15, made("/golden/m2", b"e", 1)),
                 (19, made("/golden/m3", b"", 4)), (21, made("/golden/m4", b"t", 5) + struct.pack(">q", 3_600_000)),
                 (2, ustr("/golden/guarded") + any_version))
    client.multi((5, ustr("/golden/m") + buf(b"never") + any_version), (1, made("/golden/never")),
                 (2, ustr("/golden/missing") + any_version), (2, ustr("/golden/m") + any_version))
    client.multi((2, ustr("/golden/m") + any_version), (13, ustr("/golden") + any_version),
                 (13, ustr("/golden") + struct.pack(">i", 7)))
    assert client.create("/golden/container/child") == 0
    assert client.delete("/golden/container/child") == 0            # the container goes by itself
    other.close()
    Client(ports[6 + servers.leader]).close()                       # a session without nodes
    error = servers.rename()
    assert error == 0, f"reconfig: {error}"
    servers.gone("/golden/container", "/golden/timed")
    client.set("/golden", b"end")


def write(name, version, servers, observer, target):
    base = f"{target}/observer-{name}-{version}"
    open(base + ".bin", "wb").write(observer.bytes)
    lines = [f"recorded from ZooKeeper {servers.version}"] + observer.lines
    open(base + ".txt", "w").write("".join(line + "\n" for line in lines))
    print(base, len(observer.bytes), "bytes", len(lines), "lines")


def main():
    version, classpath = sys.argv[1], sys.argv[2]
    target = sys.argv[3] if len(sys.argv) > 3 else os.path.dirname(os.path.abspath(__file__))
    with ensemble(version, classpath) as servers:
        tree(servers.client)
        snap = servers.observer(0)
        snap.until(0)
        start = snap.last
        every_type(servers)
        last = servers.last_zxid()
        snap.until(last)
        diff = servers.observer(start)
        diff.until(last)
        # More than the leader keeps in memory, so that it reads its log files.
        for i in range(520): servers.client.set("/golden", b"")
        log = servers.observer(start)
        log.until(last, live=False)
        for name, observer in (("snap", snap), ("diff", diff), ("log", log)):
            write(name, version, servers, observer, target)
    with ensemble(version, classpath, "-Dzookeeper.digest.enabled=false",
                  "-Dzookeeper.closeSessionTxn.enabled=false") as servers:
        tree(servers.client)
        start = servers.last_zxid()
        plain = servers.observer(start)
        plain.until(start)
        every_type(servers)
        plain.until(servers.last_zxid())
        write("plain", version, servers, plain, target)


if __name__ == "__main__":
    main()
