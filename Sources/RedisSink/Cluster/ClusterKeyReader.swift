import RedisClient

/// Asks each key's owner, or whoever has it while its slot moves.
struct ClusterKeyReader: KeyReader {
    let cluster: RedisCluster
    private static let patience = Duration.seconds(10)

    func ask(_ questions: [KeyQuestion]) async throws -> [[RESPValue]] {
        let batches = questions.map { ClusterBatch(slot: HashSlot(of: $0.key), commands: $0.commands) }
        var answers: [[RESPValue]] = []
        for (batch, outcome) in zip(batches, await cluster.send(batches)) {
            if outcome.error == nil {
                answers.append(outcome.replies)
            } else {
                answers.append(
                    try await cluster.send(
                        batch.commands, to: batch.slot, deadline: .now + ClusterKeyReader.patience))
            }
        }
        return answers
    }
}
