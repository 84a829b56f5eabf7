import NIOCore
import Testing

@testable import ZooKeeperClient

struct EventInboxTests {
    private func failure(_ text: String) -> ZooKeeperEvent {
        .disconnected(ZooKeeperError(.connectionFailed, message: text))
    }

    private func reply(_ tag: UInt64) -> ZooKeeperEvent { .reply(tag: tag, zxid: 1, .success(.empty)) }

    @Test func keepsTheFirstAndTheLastOfFailedAttempts() {
        var inbox = EventInbox(limit: 10)
        inbox.append(reply(1))
        for attempt in 1...100 { inbox.append(failure("\(attempt)")) }
        let kept = inbox.take()
        #expect(kept.compactMap(\.failure?.message) == ["1", "100"] && kept.first?.tag == 1)
    }

    @Test(arguments: [0, 1, 2, 10]) func forgetsWithoutAConsumerOnly(_ limit: Int) {
        var inbox = EventInbox(limit: limit)
        inbox.append(contentsOf: (0..<100).map(reply))
        #expect(!inbox.isFull)
        let kept = inbox.take().compactMap(\.tag)
        #expect(kept.count <= max(limit, 2) && kept.last == 99)
        inbox.append(contentsOf: (0..<100).map(reply))
        #expect(inbox.isFull)
        #expect(inbox.take().compactMap(\.tag) == Array(0..<100))
        #expect(!inbox.isFull && inbox.isEmpty)
    }

    @Test func requestsThatWaitAreBounded() async throws {
        var configuration = ZooKeeperConfiguration(connect: try ConnectString(parsing: "a"))
        configuration.maximumRequestsWaiting = 3
        var state = ClientState(configuration)
        var effects = Effects()
        var acceptance = ByteBuffer(bytes: hex(MachineTests.acceptance))
        state.attached(try ConnectReply(reading: &acceptance), to: ZooKeeperAddress(host: "a"), &effects)
        state.send((0..<5).map { (.sync("/"), UInt64($0)) }, &effects)
        let first = state.takeRequests(2)
        #expect(first.map(\.owner) == [.consumer(tag: 0), .consumer(tag: 1)])
        state.ended(
            .lost(.connectionLoss(path: nil), lifetime: .zero), Received(),
            inFlight: first.map { ($0.owner, $0.request.path) }, &effects)
        let events = try await withCheckedThrowingContinuation { continuation in
            state.wait(EventInbox.Waiter(id: 1, continuation: continuation, timer: nil), &effects)
            effects.perform()
        }
        #expect(events.compactMap(\.tag) == [3, 4, 0, 1, 2])
        #expect(
            events.compactMap(\.failure?.code) == [
                .overloaded, .overloaded, .connectionLoss, .connectionLoss, .connectionLoss, .connectionLoss,
            ])
        #expect(events.last?.isDisconnected == true)
    }
}
