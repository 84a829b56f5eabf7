import Testing

@testable import RedisClient

@Suite struct EndpointTests {
    @Test func hosts() throws {
        #expect(try RedisEndpoint(parsing: "redis://h") == RedisEndpoint(address: .host("h", port: 6_379)))
        #expect(try RedisEndpoint(parsing: "redis://h/") == RedisEndpoint(address: .host("h", port: 6_379)))
        #expect(
            try RedisEndpoint(parsing: "REDIS://127.0.0.1:1/15")
                == RedisEndpoint(address: .host("127.0.0.1", port: 1), database: 15))
        #expect(
            try RedisEndpoint(parsing: "redis://[::1]:65535/2")
                == RedisEndpoint(address: .host("::1", port: 65_535), database: 2))
        #expect(try RedisEndpoint(parsing: "redis://[fe80::1]").address == .host("fe80::1", port: 6_379))
    }

    @Test func credentials() throws {
        let endpoint = try RedisEndpoint(parsing: "redis://us%65r:p%40s%2Fs%25:@x@h:7/1")
        #expect(endpoint.username == "user")
        #expect(endpoint.password == "p@s/s%:@x")
        #expect(endpoint.address == .host("h", port: 7))
        let plain = try RedisEndpoint(parsing: "redis://:secret@h")
        #expect(plain.username == nil)
        #expect(plain.password == "secret")
    }

    @Test func unixSockets() throws {
        let plain = try RedisEndpoint(parsing: "redis+unix:///run/redis.sock")
        #expect(plain == RedisEndpoint(address: .unixSocket(path: "/run/redis.sock")))
        let full = try RedisEndpoint(parsing: "redis+unix://u:p@/run/a%20b.sock?db=3")
        #expect(
            full
                == RedisEndpoint(
                    address: .unixSocket(path: "/run/a b.sock"), username: "u", password: "p", database: 3))
    }

    @Test(arguments: [
        "", "h", "redis:", "redis:/h", "redis://", "redis:///0", "redis://:6379", "redis://h:", "redis://h:0",
        "redis://h:65536", "redis://h:x", "redis://h:-1", "redis://h:+1", "redis://h/x", "redis://h/-1",
        "redis://h/1/2", "redis://h/99999999999", "redis://h?db=1", "redis://h#x", "redis://user@h",
        "redis://user:@h", "redis://:%@h", "redis://:%4@h", "redis://:%zz@h", "redis://:%ff@h",
        "redis://:%00@h",
        "redis://[::1", "redis://[::1]x", "redis://[h]", "redis://a b", "redis://ü", "http://h",
        "redis+unix://",
        "redis+unix:///", "redis+unix://h/p", "redis+unix:///p?x=1", "redis+unix:///p?db=",
        "redis+unix:///p?db=x", "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h,/m",
        "redis+sentinel://h/m/x", "redis+sentinel://h/m?db=1", "redis+sentinel://h/m/0/1",
        "redis+cluster://", "redis+cluster://h,", "redis+cluster://h:0", "redis+cluster://h/1",
        "redis+cluster://h/0/0", "redis+cluster://h/00", "redis+cluster://h/m", "redis+cluster://h?db=0",
        "redis://h?ca=/a", "redis+cluster://h?ca=/a", "redis+sentinel://h/m?ca=/a", "rediss+unix:///p",
        "rediss://", "rediss://h/x", "rediss://h?", "rediss://h?ca", "rediss://h?ca=", "rediss://h?db=1",
        "rediss://h?ca=/a&", "rediss://h?ca=/a&ca=/b", "rediss://h?CA=/a", "rediss://h?ca=/%",
        "rediss://h?ca=%00",
        "rediss://h?cert=/c", "rediss://h?key=/k", "rediss://h?verify=yes", "rediss://h?verify=FULL",
        "rediss://h?verify=full&x=1", "rediss://h?c%61=/a", "rediss://h?ca=/a#b", "rediss+sentinel://h",
        "rediss+sentinel://h/m?db=0",
        "rediss+cluster://h/1", "rediss+cluster://h,?ca=/a",
    ])
    func invalid(_ url: String) async {
        #expect(await code { _ = try RedisEndpoint(parsing: url) } == .invalidURL)
    }

    @Test func sentinelsAreRead() throws {
        let endpoint = try RedisEndpoint(parsing: "redis+sentinel://:secret@a,b:1,[::1]:2/my%20master/3")
        #expect(
            endpoint.sentinel
                == RedisSentinel(
                    addresses: [.host("a", port: 26_379), .host("b", port: 1), .host("::1", port: 2)],
                    master: "my master"))
        #expect(endpoint.database == 3 && endpoint.password == "secret")
        #expect("\(endpoint)" == "redis+sentinel://a:26379,b:1,[::1]:2/my master/3")
    }

    @Test func clustersAreRead() throws {
        let endpoint = try RedisEndpoint(parsing: "redis+cluster://me:secret@a,b:1,[::1]:2/0")
        #expect(
            endpoint.clusterSeeds == [.host("a", port: 6_379), .host("b", port: 1), .host("::1", port: 2)])
        #expect(endpoint.address == .host("a", port: 6_379) && endpoint.sentinel == nil)
        #expect(endpoint.username == "me" && endpoint.password == "secret" && endpoint.database == 0)
        #expect("\(endpoint)" == "redis+cluster://a:6379,b:1,[::1]:2")
        var dumped = ""
        dump(endpoint, to: &dumped)
        #expect(!dumped.contains("secret"))
        for url in ["redis+cluster://h", "redis+cluster://h/"] {
            #expect(try RedisEndpoint(parsing: url).clusterSeeds == [.host("h", port: 6_379)])
        }
    }

    @Test func encryptionIsRead() throws {
        let plain = try RedisEndpoint(parsing: "rediss://h")
        #expect(plain == RedisEndpoint(address: .host("h", port: 6_379), tls: RedisTLS()))
        #expect(plain.tls?.verification == .full && plain.tls?.rootsPath == nil)
        #expect(plain != (try RedisEndpoint(parsing: "redis://h")))
        let full = try RedisEndpoint(
            parsing: "rediss://u:p%3F@h:7/2?verify=ca&key=/k%26%25%23&ca=rel/a%20b=c&cert=/c")
        let tls = RedisTLS(
            rootsPath: "rel/a b=c", identity: .init(certificatePath: "/c", keyPath: "/k&%#"),
            verification: .ca)
        #expect(
            full
                == RedisEndpoint(
                    address: .host("h", port: 7), username: "u", password: "p?", database: 2, tls: tls))
        #expect("\(full)" == "rediss://h:7/2")
        let cluster = try RedisEndpoint(parsing: "RedisS+Cluster://a,b:1/?verify=none")
        #expect(cluster.clusterSeeds?.count == 2 && cluster.tls == RedisTLS(verification: .none))
        #expect("\(cluster)" == "rediss+cluster://a:6379,b:1")
        let sentinel = try RedisEndpoint(parsing: "rediss+sentinel://:secret@a/m/3?ca=/ca.pem")
        #expect(sentinel.tls == RedisTLS(rootsPath: "/ca.pem") && sentinel.database == 3)
        #expect("\(sentinel)" == "rediss+sentinel://a:26379/m/3")
    }

    @Test func neverShowsThePassword() throws {
        let endpoint = try RedisEndpoint(parsing: "redis://user:hunter2@h:1/4")
        let configuration = RedisConfiguration(endpoint: endpoint)
        var dumped = ""
        dump(configuration, to: &dumped)
        let texts = ["\(endpoint)", String(reflecting: endpoint), "\(configuration)", dumped]
        for text in texts { #expect(!text.contains("hunter2")) }
        let encrypted = try RedisEndpoint(parsing: "rediss://user:hunter2@h:1/4?ca=/ca.pem")
        var dumpedEncrypted = ""
        dump(RedisConfiguration(endpoint: encrypted), to: &dumpedEncrypted)
        for text in ["\(encrypted)", String(reflecting: encrypted), dumpedEncrypted] {
            #expect(!text.contains("hunter2"))
        }
        #expect("\(endpoint)" == "redis://h:1/4")
        #expect("\(try RedisEndpoint(parsing: "redis+unix://:hunter2@/p?db=1"))" == "redis+unix:///p?db=1")
        for url in [
            "redis://:hun?ter2@h", "redis://u:hun#ter2@h", "redis://u:hun/ter2@h", "redis://hunter2@h",
            "rediss://u:hun?ter2@h", "rediss://h?password=hunter2", "rediss://h?verify=hunter2",
            "rediss://h?hunter2", "rediss://h?ca=%hunter2",
        ] {
            do throws(RedisError) {
                _ = try RedisEndpoint(parsing: url)
                Issue.record("accepted")
            } catch {
                #expect(!error.description.contains("ter2"))
            }
        }
    }
}
