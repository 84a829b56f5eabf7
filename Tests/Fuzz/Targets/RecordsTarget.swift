import ChangeModel
import SystemPackage

@testable import Engine
@testable import SegmentLog

/// What Millrace itself writes into batches and beside them: changes, snapshots, positions, known states, checkpoints,
/// dead letters.
///
/// The first byte: which; 128 makes the checksum of a known state right.
func fuzzRecords(_ input: inout FuzzInput, _ directory: FilePath) throws(FuzzFailure) {
    let mode = input.byte()
    var bytes = input.takeAll()
    switch mode & 7 {
    case 0: try change(bytes)
    case 1: try snapshot(bytes)
    case 2:
        guard let position = try? CapturePosition(decoding: bytes) else { return }
        try FuzzFailure.unless(
            (try? CapturePosition(decoding: position.bytes)) == position,
            "a position is read as it was written")
        _ = position.order.next(notBefore: position.settled)
    case 3:
        if mode & 128 != 0, bytes.count > 4 {
            setChecksum(of: 0..<bytes.count - 4, at: bytes.count - 4, &bytes)
        }
        try knownState(bytes, directory)
    case 6: try deadLetter(bytes)
    case 7: try resolution(bytes)
    default: try checkpoint(bytes, directory)
    }
}

private func deadLetter(_ bytes: [UInt8]) throws(FuzzFailure) {
    guard let letter = try? DeadLetterCodec.decodeLetter(bytes[...], number: 0, refused: 0) else { return }
    var written: [UInt8] = []
    DeadLetterCodec.encode(
        stage: letter.stage, offset: letter.offset, sink: letter.sink, reason: letter.reason,
        change: letter.change, into: &written)
    try FuzzFailure.unless(written == bytes, "a dead letter is written as it was read")
}

private func resolution(_ bytes: [UInt8]) throws(FuzzFailure) {
    guard let resolution = try? DeadLetterCodec.decodeResolution(bytes[...]) else { return }
    var written: [UInt8] = []
    DeadLetterCodec.encode(resolution, into: &written)
    try FuzzFailure.unless(written == bytes, "a resolution is written as it was read")
}

private func change(_ bytes: [UInt8]) throws(FuzzFailure) {
    guard let change = try? ChangeCodec.decode(bytes[...]) else { return }
    var written: [UInt8] = []
    ChangeCodec.encode(change, into: &written)
    try FuzzFailure.unless(written == bytes, "a change is written as it was read")
    let json = ChangeEnvelope.json(of: change, offset: 0, source: "fuzz")
    try FuzzFailure.unless(!json.contains(0x0A), "a change is one line")
    _ = change.stat?.isEphemeral
    _ = change.order
    var known = KnownState(keepsData: true)
    known.apply(change)
}

private func snapshot(_ bytes: [UInt8]) throws(FuzzFailure) {
    guard let begin = try? SnapshotBegin(decoding: bytes[...]) else { return }
    var written: [UInt8] = []
    begin.encode(into: &written)
    try FuzzFailure.unless(bytes.starts(with: written), "a snapshot's record is written as it was read")
    for path in begin.scope.paths + ["/", "/a/b/c", ""] { _ = begin.scope.contains(path) }
}

private func knownState(_ bytes: [UInt8], _ directory: FilePath) throws(FuzzFailure) {
    let store = KnownStateStore(directory: directory, logID: "log", keepsData: true)
    guard let state = store.decode(bytes, offset: 7) else { return }
    let again = store.decode(store.encode(state, offset: 7), offset: 7)
    try FuzzFailure.unless(again == state, "a known state is written as it was read")
}

private func checkpoint(_ bytes: [UInt8], _ directory: FilePath) throws(FuzzFailure) {
    let store = FileCheckpointStore(log: directory, sink: "out")
    try? AtomicFile.makeDirectory(directory.appending("checkpoints"))
    try write(bytes, to: directory.appending("checkpoints").appending("out"))
    guard let found = try? store.read() else { return }
    try? store.write(found)
    try FuzzFailure.unless((try? store.read()) == found, "a checkpoint is written as it was read")
}
