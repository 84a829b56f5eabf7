/// How the first reading of the tree goes into the log.
public enum SnapshotMode: Sendable, Hashable {
    /// Every node is an `r` at the first start; later starts compare.
    case initial
    /// Every node is an `r` at each start.
    case always
    /// A baseline is read and nothing of it logged.
    case never
    /// As `initial`; for captures by position, also when the position is lost.
    case whenNeeded
}
