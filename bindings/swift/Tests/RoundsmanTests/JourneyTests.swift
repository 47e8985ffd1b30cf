import Foundation
import Roundsman
import XCTest

final class JourneyTests: XCTestCase {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)

    override func tearDown() {
        try? FileManager.default.removeItem(at: folder)
    }

    private func phone(_ name: String, keys: PlatformKeys? = nil) async throws -> Roundsman {
        let place = folder.appendingPathComponent(name)
        let keys = keys ?? SoftwareKeys(dir: place.appendingPathComponent("keys").path)
        return try await Roundsman.open(
            folder: place.appendingPathComponent("vault"), keys: keys, deviceName: name, platform: "linux")
    }

    func testAVisitMadeOfflineIsSeenOnASecondPhoneAndAWipedPhoneReadsNothing() async throws {
        let server = try TestServer()
        defer { server.stop() }
        let ana = try await phone("ana")
        XCTAssertEqual(ana.state, .new)
        try await ana.enrol(ticket: server.ticket(), passcode: Passcode(typed: "copper Kayak 27"))
        try await ana.sync()
        let found = try await ana.customers.search(text: "lumiere cafe", limit: 5)
        XCTAssertEqual(found.map(\.name), ["Café Lumière"])

        var changes = try ana.changes().makeAsyncIterator()
        let visit = try await ana.visits.start(
            customer: found[0].id, position: Position(lat: 40.3, lon: -73.98, accuracyM: 8))
        XCTAssertEqual(visit.verdict, .verified)
        let change = await changes.next()
        XCTAssertEqual(change, .records(entity: "visit", ids: [visit.id]))
        _ = try await ana.visits.write(visit: visit.id, notes: "shelf is empty")
        _ = try await ana.visits.checkOut(visit: visit.id, outcome: .order)
        let report = try await ana.sync()
        XCTAssertGreaterThan(report.sent, 0)

        let bo = try await phone("bo")
        try await bo.enrol(ticket: server.ticket(), passcode: Passcode(typed: "copper Kayak 27"))
        try await bo.sync()
        let seen = try await bo.visits.get(id: visit.id)
        XCTAssertEqual(seen?.state, .checkedOut)
        XCTAssertEqual(seen?.notes, "shelf is empty")

        try server.wipe("ana")
        let events = try await ana.sync().events
        XCTAssertTrue(events.contains(.wiped))
        while ana.state != .wiped { try await ana.checkIn() }
        await fails(with: .Wiped) { _ = try await ana.customers.count() }
        XCTAssertEqual(bo.state, .open)
    }

    func testAWrongPasscodeSaysHowManyAttemptsAreLeft() async throws {
        let server = try TestServer()
        defer { server.stop() }
        let ana = try await phone("ana")
        try await ana.enrol(ticket: server.ticket(), passcode: Passcode(typed: "copper Kayak 27"))
        ana.lock()
        await fails(with: .Locked) { _ = try await ana.customers.count() }
        do {
            try await ana.unlock(Passcode(typed: "975310"))
            XCTFail("it opened")
        } catch RoundsmanError.WrongPasscode(let attemptsLeft) {
            XCTAssertGreaterThan(attemptsLeft, 0)
        }
        try await ana.unlock(Passcode(typed: "copper Kayak 27"))
        XCTAssertEqual(ana.state, .open)
        await fails(with: .WeakPasscode(flaw: .run)) { try await ana.unlock(Passcode(typed: "123456")) }
    }

    func testACancelledTaskEndsItsSync() async throws {
        let server = try TestServer()
        defer { server.stop() }
        let ana = try await phone("ana")
        try await ana.enrol(ticket: server.ticket(), passcode: Passcode(typed: "copper Kayak 27"))
        let sync = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            _ = try await ana.sync()
        }
        let result = await sync.result
        XCTAssertThrowsError(try result.get()) { XCTAssertEqual($0 as? RoundsmanError, .Cancelled) }
        let report = try await ana.sync()
        XCTAssertEqual(report.received, 5)
    }

    func testAKeystoreWrittenInSwiftIsHeardWithItsReasons() async throws {
        let server = try TestServer()
        defer { server.stop() }
        let ana = try await phone("ana", keys: FailingKeys())
        await fails(with: .Keystore(reason: .LockedOut)) {
            try await ana.enrol(ticket: server.ticket(), passcode: Passcode(typed: "copper Kayak 27"))
        }
        XCTAssertEqual(ana.state, .new)
    }

    private func fails(with expected: RoundsmanError, _ call: () async throws -> Void) async {
        do {
            try await call()
            XCTFail("it did not fail")
        } catch {
            XCTAssertEqual(error as? RoundsmanError, expected)
        }
    }
}

/// A keystore before the first unlock of the phone.
private final class FailingKeys: PlatformKeys {
    func create(alias: KeyAlias) throws { throw KeyError.LockedOut }
    func exists(alias: KeyAlias) throws -> Bool { throw KeyError.LockedOut }
    func hmac(alias: KeyAlias, data: Data) throws -> Data { throw KeyError.LockedOut }
    func publicKey(alias: KeyAlias) throws -> Data { throw KeyError.LockedOut }
    func sign(alias: KeyAlias, message: Data) throws -> Data { throw KeyError.LockedOut }
    func delete(alias: KeyAlias) throws { throw KeyError.LockedOut }
    func hardware() throws -> Bool { false }
}
