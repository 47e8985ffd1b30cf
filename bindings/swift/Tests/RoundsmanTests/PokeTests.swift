import Foundation
import Roundsman
import XCTest

/// Phones that hear from their server: on the channel, from the scheduler, and by push.
final class PokeTests: RigTestCase {
    func testWhatOnePhoneSyncsIsOnTheOtherThatListens() async throws {
        let (ana, bo) = (try await enrolled("ana"), try await enrolled("bo"))
        let (listening, heard) = listening(ana)
        var words = heard.makeAsyncIterator()
        await words.wait { if case .synced = $0 { true } else { false } }
        let visit = try await bo.visit()
        try await bo.sync()
        while try await ana.visits.get(id: visit.id) == nil {
            await words.wait { if case .synced = $0 { true } else { false } }
        }
        listening.cancel()
        let ended = try await listening.value
        XCTAssertEqual(ended, .stopped)
    }

    func testALockAndAWipeReachAPhoneThatListens() async throws {
        let ana = try await enrolled("ana")
        let (listening, heard) = listening(ana)
        var words = heard.makeAsyncIterator()
        await words.wait { $0 == .connected }
        try server.lock("ana")
        await words.wait { if case .device = $0 { true } else { false } }
        XCTAssertEqual(ana.state, .locked)
        try server.wipe("ana")
        let ended = try await listening.value
        XCTAssertEqual(ended, .wiped)
        XCTAssertEqual(ana.state, .wiped)
    }

    func testAListeningThatWasCancelledIsOverAndAnotherMayBeginAtOnce() async throws {
        let ana = try await enrolled("ana")
        for _ in 1...5 {
            let (listening, heard) = listening(ana)
            var words = heard.makeAsyncIterator()
            await words.wait { $0 == .connected }
            listening.cancel()
            let ended = try await listening.value
            XCTAssertEqual(ended, .stopped)
        }
        let (listening, heard) = listening(ana)
        var words = heard.makeAsyncIterator()
        await words.wait { $0 == .connected }
        let second = try await ana.listen()
        XCTAssertEqual(second, .already)
        listening.cancel()
    }

    func testTheSchedulersTimeIsKeptThoughTheServerSaysNothing() async throws {
        let (ana, bo) = (try await enrolled("ana"), try await enrolled("bo"))
        let visit = try await bo.visit()
        try await bo.sync()
        try await server.whileItHangs {
            let begun = Date()
            let woken = try await ana.backgroundSync(deadline: 2)
            XCTAssertFalse(woken.done)
            XCTAssertNil(woken.report)
            XCTAssertGreaterThanOrEqual(woken.next, 60)
            XCTAssertLessThan(Date().timeIntervalSince(begun), 10)

            // The system takes its time back.
            let taken = Task { try await ana.backgroundSync(deadline: 600) }
            taken.cancel()
            await fails(with: .Cancelled) { _ = try await taken.value }
        }
        let woken = try await ana.backgroundSync(deadline: 60)
        XCTAssertTrue(woken.done)
        XCTAssertNotNil(woken.report)
        let seen = try await ana.visits.get(id: visit.id)
        XCTAssertEqual(seen?.id, visit.id)
    }

    func testAPushMessageIsDoneAndAnyOtherIsNotBelieved() async throws {
        let (ana, bo) = (try await enrolled("ana"), try await enrolled("bo"))
        let visit = try await bo.visit()
        try await bo.sync()
        let other = try await ana.handlePush(Data(#"{"aps":{"alert":"hello"}}"#.utf8))
        XCTAssertNil(other)
        let before = try await ana.visits.get(id: visit.id)
        XCTAssertNil(before)
        let pushed = try await ana.handlePush(Data(#"{"poke":"sync"}"#.utf8))
        XCTAssertNotNil(pushed?.report)
        let seen = try await ana.visits.get(id: visit.id)
        XCTAssertNotNil(seen)

        ana.lock()
        try server.lock("ana")
        let woken = try await ana.handlePush(Data(#"{"poke":"check_in"}"#.utf8))
        XCTAssertEqual(woken?.events.contains(.locked), true)
        XCTAssertEqual(ana.state, .locked)
    }

    /// A phone that listens, and what it hears.
    private func listening(_ phone: Roundsman) -> (Task<Ended, Error>, AsyncStream<Heard>) {
        let (heard, words) = AsyncStream.makeStream(of: Heard.self)
        let listening = Task {
            defer { words.finish() }
            return try await phone.listen { words.yield($0) }
        }
        return (listening, heard)
    }
}

extension AsyncStream<Heard>.Iterator {
    /// Waits until this is heard.
    fileprivate mutating func wait(for wanted: (Heard) -> Bool) async {
        while let heard = await next() {
            if wanted(heard) { return }
        }
        XCTFail("it ended before that was heard")
    }
}
