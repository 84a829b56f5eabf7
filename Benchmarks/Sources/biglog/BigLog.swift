import ChangeModel
import SegmentLog
import SystemPackage

/// Makes a log of many small changes, for `log-seek.py`: `biglog DIRECTORY RECORDS RECORDS-PER-BATCH`. A millisecond passes
/// from batch to batch.
@main
enum BigLog {
    private static let firstTime: Int64 = 1_700_000_000_000
    private static let nodes: Int64 = 1_000_000

    static func main() throws {
        guard CommandLine.arguments.count == 4, let records = Int64(CommandLine.arguments[2]),
            let perBatch = Int64(CommandLine.arguments[3]), perBatch > 0
        else {
            print("usage: biglog DIRECTORY RECORDS RECORDS-PER-BATCH")
            return
        }
        let writer = try LogWriter.open(
            FilePath(CommandLine.arguments[1]), configuration: LogConfiguration(fsync: .never),
            initialGeneration: 0)
        var batch = RecordBatchBuilder()
        var time = firstTime
        while writer.nextOffset < records {
            for number in writer.nextOffset..<min(writer.nextOffset + perBatch, records) {
                batch.append(type: RecordType.change) {
                    ChangeCodec.encode(change(number, time: time), into: &$0)
                }
            }
            let zxid = Zxid(writer.nextOffset + Int64(batch.offsetCount))
            _ = try writer.append(
                batch, position: CapturePosition(seen: zxid, settled: zxid).bytes,
                timestampMilliseconds: time)
            batch.removeAll()
            time += 1
        }
        try writer.close()
    }

    private static func change(_ number: Int64, time: Int64) -> Change {
        // Neighbours have nothing to do with each other, so that compression has to work.
        let node = (number &* 7_919) % nodes
        let zxid = Zxid(number + 1)
        return Change(
            operation: number < nodes ? .create : .update, path: "/services/s\(node % 1000)/i\(node)",
            data: Array("10.0.\(node % 250).\(number % 250):\(number % 10_000)".utf8), zxid: zxid,
            timestamp: time, captured: time,
            stat: NodeStat(
                czxid: Zxid(node + 1), mzxid: zxid, pzxid: Zxid(node + 1), ctime: firstTime, mtime: time,
                version: Int32(truncatingIfNeeded: number / nodes)))
    }
}
