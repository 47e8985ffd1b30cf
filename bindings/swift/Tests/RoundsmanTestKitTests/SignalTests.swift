import Foundation
import Roundsman
import RoundsmanTestKit
import XCTest

/// An app's screens on bad networks, and what the office does.
final class SignalTests: XCTestCase {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    private var server: KitServer!
    private var rep: UUID!

    override func setUpWithError() throws {
        server = try KitServer.start()
        rep = try server.addRep(name: "ana", territories: ["NJ"])
        _ = try server.importCustomers(csv: "code,name,territory\nS1,Ocean Deli,NJ\n")
    }

    override func tearDown() {
        server = nil
        try? FileManager.default.removeItem(at: folder)
    }

    func testAVisitMadeWithoutASignalArrivesOnceThoughItsAnswerWasLost() async throws {
        let (phone, network) = try await phone("ana's phone")
        network.offline(offline: true)
        let store = try await phone.customers.search(text: "ocean", limit: 5)[0]
        let visit = try await phone.visits.start(customer: store.id)
        await fails(with: .Offline) { try await phone.sync() }
        XCTAssertEqual(try server.visits(), [])

        network.offline(offline: false)
        network.next(fate: .loseAnswer)
        await fails(with: .Offline) { try await phone.sync() }
        XCTAssertEqual(try server.visits().map(\.id), [visit.id])
        try await phone.sync()
        XCTAssertEqual(try server.visits().map { $0.fields["state"] }, ["checked_in"])
        let unsent = try await phone.outbox.count()
        XCTAssertEqual(unsent, 0)
    }

    func testASyncThatIsCutOrGetsNoAnswerIsMadeUpForByTheNext() async throws {
        let (phone, network) = try await phone("ana's phone")
        let rows = (1...200).map { "C\($0),Store \($0),NJ\n" }.joined()
        XCTAssertEqual(try server.importCustomers(csv: "code,name,territory\n" + rows).created, 200)
        for bytes in [0, 1, 100, 1_000] as [UInt32] {
            network.next(fate: .cutAnswer(bytes: bytes))
            do {
                try await phone.sync()
                XCTFail("it was cut after \(bytes) bytes")
            } catch is RoundsmanError {}
        }
        network.next(fate: .hangBefore)
        let sync = Task { try await phone.sync() }
        await network.hangs()
        sync.cancel()
        await fails(with: .Cancelled) { _ = try await sync.value }
        let before = network.requests()
        try await phone.sync()
        XCTAssertGreaterThan(network.requests(), before)
        let count = try await phone.customers.count()
        XCTAssertEqual(count, 201)
    }

    func testALockAndAWipeReachThePhone() async throws {
        let (phone, _) = try await phone("ana's phone")
        try server.lock(device: "ana's phone")
        try await phone.checkIn()
        XCTAssertEqual(phone.state, .locked)
        try await phone.checkIn()
        XCTAssertEqual(try server.status(device: "ana's phone"), .locked)
        try server.wipe(device: "ana's phone")
        while phone.state != .wiped { try await phone.checkIn() }
        XCTAssertEqual(try server.status(device: "ana's phone"), .wiped)
        XCTAssertThrowsError(try server.lock(device: "nobody's phone")) {
            XCTAssertEqual($0 as? KitError, .NoSuchDevice(name: "nobody's phone"))
        }
    }

    func testAPhoneThatListensHearsOfAnEditAndOfBeingCutOff() async throws {
        let (phone, network) = try await phone("ana's phone")
        let (heard, words) = AsyncStream.makeStream(of: Heard.self)
        let listening = Task { try await phone.listen { words.yield($0) } }
        var next = heard.makeAsyncIterator()
        while await next.next() != .connected {}
        _ = try server.importCustomers(csv: "code,name,territory\nS2,Pier Books,NJ\n")
        while try await phone.customers.count() < 2 { _ = await next.next() }
        network.offline(offline: true)
        while true {
            if case .offline = await next.next() { break }
        }
        network.heal()
        while await next.next() != .connected {}
        listening.cancel()
        let ended = try await listening.value
        XCTAssertEqual(ended, .stopped)
    }

    func testAPhoneStaysAwayAsLongAsTheTestSays() async throws {
        let (phone, _) = try await phone("ana's phone")
        server.advance(by: 8 * 24 * 60 * 60)
        let closed = try await phone.tick()
        XCTAssertEqual(closed, .lease)
        await fails(with: .LeaseEnded) { try await phone.unlock(passcode()) }
        try await phone.checkIn()
        try await phone.unlock(passcode())
        XCTAssertEqual(phone.state, .open)
    }

    /// A phone that is enrolled and synced, and its network.
    private func phone(_ name: String) async throws -> (Roundsman, KitNetwork) {
        let network = try server.network()
        let place = folder.appendingPathComponent(name)
        let phone = try await Roundsman.open(
            folder: place.appendingPathComponent("vault"),
            keys: SoftwareKeys(dir: place.appendingPathComponent("keys").path),
            deviceName: name, platform: "linux", clock: KitClock(server))
        try await phone.enrol(ticket: network.ticket(user: rep), passcode: passcode())
        try await phone.sync()
        return (phone, network)
    }

    private func passcode() throws -> Passcode {
        try Passcode(typed: "copper Kayak 27")
    }

    private func fails(with expected: RoundsmanError, _ call: () async throws -> Void) async {
        do {
            try await call()
            XCTFail("it did not fail with \(expected)")
        } catch {
            XCTAssertEqual(error as? RoundsmanError, expected)
        }
    }
}
