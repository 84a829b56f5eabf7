/// How an observer gets from what it holds to what the ensemble has.
public enum ObserverSync: Sendable, Hashable {
    /// By the transactions in between.
    case difference
    /// By the whole tree: the ensemble does not keep the transactions in between any more, or nothing is held. What was
    /// held and is not in the snapshot is gone.
    case snapshot(zxid: Int64)
}

/// What an observer sees, in order.
///
/// Each connection begins with `.syncing`. **Whatever comes from there to `.upToDate` may never have been committed**: a new
/// leader that dies at once may have sent what the next one does not know. It must be kept apart and dropped at a
/// `.disconnected`; the next connection begins where the last `.upToDate` or the transactions after it ended.
public enum ObserverEvent: Sendable {
    case syncing(ObserverSync, server: ZooKeeperAddress)
    /// Parents come before their children, `/` first. The leader goes on writing meanwhile: see `FuzzySnapshot`.
    case snapshotNodes([SnapshotNode])
    case snapshotEnd(zxid: Int64)
    /// Each is the next one after the last, by zxid: none is left out and none comes twice.
    case transactions([Transaction])
    /// All that came is committed, and so is every transaction from here on.
    case upToDate(zxid: Int64)
    /// The connection is lost, or an attempt to make one failed; the observer goes on by itself. Of several in a row that
    /// nobody fetches, the first and the last are kept.
    case disconnected(ZooKeeperError)
}
