import Foundation
import Roundsman
import XCTest

/// Photos on their way from one phone to another.
final class AttachmentTests: RigTestCase {
    /// A picture as far as anybody here looks: several parts of an upload, and several chunks of a file.
    private let picture = Data((0..<700_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })

    func testAPhotoIsAddedSentAndFetchedOnAnotherPhone() async throws {
        let (ana, bo) = (try await enrolled("ana"), try await enrolled("bo"))
        let visit = try await ana.visit()
        let photo = try await ana.attachments.add(new: photo(of: visit), content: picture)
        let waiting = try await ana.attachments.waiting()
        XCTAssertEqual(waiting, Waiting(files: 1, bytes: photo.size))
        XCTAssertNil(photo.storedAt)
        try await ana.sync()
        try await bo.sync()
        let known = try await bo.attachments.of(record: visit.id)
        XCTAssertEqual(known.map(\.id), [photo.id])
        XCTAssertEqual(known.map(\.here), [false])
        await fails(with: .Attachment(reason: .notFetched)) { _ = try await bo.attachments.read(id: photo.id) }
        await fails(with: .Attachment(reason: .notSentYet)) { try await bo.attachments.fetch(photo.id) }

        let moved = Shared<[Moved]>([])
        let sent = try await ana.attachments.send { step in moved.change { $0.append(step) } }
        XCTAssertEqual([sent.files, sent.left], [1, 0])
        XCTAssertEqual(moved.read().last?.bytes, photo.size)
        try await ana.sync()
        let stored = try await ana.attachments.get(id: photo.id)
        XCTAssertNotNil(stored?.storedAt)
        try await bo.sync()
        let fetched = try await bo.attachments.fetch(photo.id)
        XCTAssertTrue(fetched.here)
        let content = try await bo.attachments.read(id: photo.id)
        XCTAssertEqual(content, picture)
        let reader = try await bo.attachments.open(id: photo.id)
        XCTAssertEqual(reader.size(), photo.size)
        let part = try await reader.readAt(at: 100_000, most: 10)
        XCTAssertEqual(part, picture.subdata(in: 100_000..<100_010))
        bo.lock()
        await fails(with: .Locked) { _ = try await reader.readAt(at: 0, most: 1) }
    }

    func testAFileIsAttachedPieceByPieceAndOneThatIsTooLargeIsNot() async throws {
        let limits = AttachmentOptions(one: 1_000_000, all: 1_500_000)
        let ana = try await enrolled("ana", attachments: limits)
        let visit = try await ana.visit()
        let file = folder.appendingPathComponent("photo.webp")
        try picture.write(to: file)
        let added = try await ana.attachments.add(photo(of: visit), file: file)
        let content = try await ana.attachments.read(id: added.id)
        XCTAssertEqual(content, picture)
        await fails(with: .Attachment(reason: .tooLarge(most: 1_000_000))) {
            _ = try await ana.attachments.add(new: photo(of: visit), content: Data(count: 1_000_001))
        }
        let left = try await ana.attachments.room()
        await fails(with: .Attachment(reason: .noRoom(left: left))) {
            _ = try await ana.attachments.add(new: photo(of: visit), content: Data(count: 900_000))
        }
        await fails(with: .Attachment(reason: .otherSize)) {
            _ = try await ana.attachments.addFrom(new: photo(of: visit), size: 10, source: Nothing())
        }
        await fails(with: .NotFound) {
            let nowhere = NewAttachment(of: .customer(id: UUID()), kind: .photo, mediaType: "image/webp")
            _ = try await ana.attachments.add(new: nowhere, content: Data(count: 9))
        }
    }

    func testPhotosWaitForANetworkThatCostsNothing() async throws {
        let ana = try await enrolled("ana")
        _ = try await ana.attachments.add(new: photo(of: ana.visit()), content: picture)
        ana.setNetwork(.metered)
        try await ana.sync()
        let waits = try await ana.attachments.send()
        XCTAssertTrue(waits.waits)
        XCTAssertEqual([waits.files, waits.left], [0, 1])
        ana.setNetwork(.unmetered)
        let sent = try await ana.attachments.send()
        XCTAssertEqual(sent.files, 1)
    }

    func testASmallPictureIsFetchedOnceAndKept() async throws {
        let (ana, bo) = (try await enrolled("ana"), try await enrolled("bo"))
        let visit = try await ana.visit()
        let new = NewAttachment(of: .visit(id: visit.id), kind: .photo, mediaType: "image/png")
        let drawn = try await ana.attachments.add(new: new, content: drawing)
        let noPicture = try await ana.attachments.add(new: photo(of: visit), content: picture)
        await fails(with: .Attachment(reason: .notSentYet)) { _ = try await ana.attachments.thumbnail(drawn.id) }
        try await ana.sync()
        try await ana.attachments.send()
        try await bo.sync()
        let none = try await bo.attachments.keptThumbnail(id: drawn.id)
        XCTAssertNil(none)
        let small = try await bo.attachments.thumbnail(drawn.id)
        XCTAssertEqual(Array(small.prefix(2)), [0xff, 0xd8], "a JPEG")
        let kept = try await bo.attachments.keptThumbnail(id: drawn.id)
        XCTAssertEqual(kept, small)
        await fails(with: .Attachment(reason: .noThumbnail)) {
            _ = try await bo.attachments.thumbnail(noPicture.id)
        }
    }

    func testADamagedPhotoIsAFindingThatSaysWhatToDo() async throws {
        let ana = try await enrolled("ana")
        let added = try await ana.attachments.add(new: photo(of: ana.visit()), content: picture)
        try await ana.sync()
        try await ana.attachments.send()
        try await ana.sync()
        let parts = Shared<[CheckedPart]>([])
        let sound = try await ana.verify { part, _, _ in parts.change { $0.append(part) } }
        XCTAssertEqual(sound.findings, [])
        XCTAssertEqual([sound.attachments, sound.attachmentBytes], [1, UInt64(picture.count)])
        XCTAssertEqual(parts.read().first, .store)
        XCTAssertEqual(parts.read().last, .server)
        guard case .compared(let buckets, _) = sound.server else { return XCTFail("\(sound.server)") }
        XCTAssertGreaterThan(buckets, 0)

        let file = try XCTUnwrap(files(under: folder).first { $0.path.contains("/att/") })
        var bytes = try Data(contentsOf: file)
        bytes[bytes.count / 2] &+= 1
        try bytes.write(to: file)
        let found = try await ana.verify().findings
        XCTAssertEqual(found.map(\.fault), [.attachment(id: added.id)])
        XCTAssertEqual(found.map(\.toDo), [.fetchAgain])
        ana.lock()
        await fails(with: .Locked) { _ = try await ana.verify() }
    }

    /// The files in a folder and in those inside it.
    private func files(under folder: URL) -> [URL] {
        let all = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: [.isRegularFileKey])
        let urls = (all?.allObjects ?? []).compactMap { $0 as? URL }
        return urls.filter { (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true }
    }

    /// A PNG of 64 by 32 pixels.
    private let drawing = Data(base64Encoded:
        "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAgCAAAAACH9iFYAAAAYElEQVR42mNgYOHgERCRkFFQ0dAxMLGwcXDx8AkIiYhJSMnIKSip" +
        "qGlo6eiZMGXGnAVLVqzZsGXHngNHTpy5cOXGnQdPXrz58OXHH4ZRA0YNGDVg1IBRA0YNGDVguBkAAE2b8C4hf07QAAAAAElFTkSu" +
        "QmCC")!

    private func photo(of visit: Visit) -> NewAttachment {
        NewAttachment(of: .visit(id: visit.id), kind: .photo, mediaType: "image/webp")
    }
}

/// A source without a byte.
private final class Nothing: AttachmentSource {
    func read(most: UInt32) throws -> Data { Data() }
}
