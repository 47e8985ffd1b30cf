import Foundation
import Roundsman
import XCTest

final class JourneyTests: RigTestCase {
    func testAVisitMadeOfflineIsSeenOnASecondPhoneAndAWipedPhoneReadsNothing() async throws {
        let ana = try await phone("ana")
        XCTAssertEqual(ana.state, .new)
        try await ana.enrol(ticket: server.ticket(), passcode: passcode())
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
        try await bo.enrol(ticket: server.ticket(), passcode: passcode())
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
        let ana = try await phone("ana")
        try await ana.enrol(ticket: server.ticket(), passcode: passcode())
        ana.lock()
        await fails(with: .Locked) { _ = try await ana.customers.count() }
        do {
            try await ana.unlock(passcode("Wrong kayak 9"))
            XCTFail("it opened")
        } catch RoundsmanError.WrongPasscode(let attemptsLeft) {
            XCTAssertGreaterThan(attemptsLeft, 0)
        }
        try await ana.unlock(passcode())
        XCTAssertEqual(ana.state, .open)
        await fails(with: .WeakPasscode(flaw: .run)) { try await ana.unlock(passcode("123456")) }
    }

    func testEachRuleThatAPasscodeBreaksIsToldWhileItIsTyped() async throws {
        let ana = try await phone("ana")
        let rules = try await ana.passcodeRules()
        XCTAssertEqual(rules.minCharacters(), 10)
        XCTAssertTrue(rules.strong())
        XCTAssertEqual(rules.classes(), 3)
        let typed = try passcode("passwo")
        XCTAssertEqual(rules.check(passcode: typed), [.tooShort(least: 10), .fewClasses(least: 3)])
        XCTAssertEqual(typed.count(), 6)
        XCTAssertEqual(rules.check(passcode: try passcode()), [])
        await fails(with: .WeakPasscode(flaw: .tooShort(least: 10))) {
            try await ana.enrol(ticket: server.ticket(), passcode: passcode("831492"))
        }
        XCTAssertEqual(ana.state, .new)
    }

    func testAPhoneLockedWhileClosedOpensAgainWithItsUnsentWork() async throws {
        let ana = try await enrolled("ana")
        let visit = try await ana.visit()
        ana.lock()
        try server.lock("ana")
        try await ana.checkIn()
        XCTAssertEqual(ana.state, .locked)
        await fails(with: .LockedByAdministrator) { try await ana.unlock(passcode()) }
        try server.unlock("ana")
        let events = try await ana.checkIn()
        XCTAssertTrue(events.contains(.unlocked))
        try await ana.unlock(passcode())
        let inProgress = try await ana.visits.inProgress()
        XCTAssertEqual(inProgress?.id, visit.id)
        let report = try await ana.sync()
        XCTAssertGreaterThan(report.sent, 0)
    }

    func testWhatAWipedPhoneHadNotSentIsRescued() async throws {
        let ana = try await enrolled("ana")
        _ = try await ana.visit()
        let unsent = try await ana.outbox.count()
        ana.lock()
        try server.wipe("ana")
        while ana.state != .wiped { try await ana.checkIn() }
        XCTAssertEqual(try server.rescued("ana"), Int(unsent))
    }

    func testAValueThatLostIsOnEveryPhoneUntilSomebodySettlesItForAll() async throws {
        let ana = try await enrolled("ana")
        let bo = try await enrolled("bo")
        let store = try await ana.customers.search(text: "lumiere cafe", limit: 5)[0]
        for (phone, brand) in [(ana, "Ana's"), (bo, "Bo's")] {
            var edited = store
            edited.brand = brand
            _ = try await phone.customers.save(seen: store, edited: edited)
        }
        try await ana.sync()
        let report = try await bo.sync()
        XCTAssertEqual(report.conflicts, 1)
        let conflicts = try await bo.conflicts.list()
        XCTAssertEqual(conflicts.map(\.field), ["brand"])
        XCTAssertEqual(conflicts.map(\.now), [.text("Bo's")])
        XCTAssertEqual(conflicts.map(\.lost), [.text("Ana's")])
        try await bo.conflicts.write(conflict: conflicts[0].id, value: .text("Both's"))
        try await bo.sync()
        try await ana.sync()
        let open = try await ana.conflicts.list()
        XCTAssertEqual(open, [])
        let settled = try await ana.customers.get(id: store.id)
        XCTAssertEqual(settled?.brand, "Both's")
    }

    func testACancelledTaskEndsItsSync() async throws {
        let ana = try await phone("ana")
        try await ana.enrol(ticket: server.ticket(), passcode: passcode())
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
        let ana = try await phone("ana", keys: FailingKeys())
        await fails(with: .Keystore(reason: .LockedOut)) {
            try await ana.enrol(ticket: server.ticket(), passcode: passcode())
        }
        XCTAssertEqual(ana.state, .new)
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
    func mark() throws -> Data? { throw KeyError.LockedOut }
    func setMark(mark: Data) throws { throw KeyError.LockedOut }
}
