import Foundation
import Roundsman
import XCTest

final class StandingTests: RigTestCase {
    func testAFingerOpensTheVaultAndLosingItLosesNothing() async throws {
        let keys = FingerKeys(SoftwareKeys(dir: folder.appendingPathComponent("keys").path))
        let ana = try await enrolled("ana", keys: keys)
        let visit = try await ana.visit()
        try await ana.enableBiometrics(passcode())
        ana.lock()
        try await ana.unlockWithBiometrics()
        XCTAssertEqual(ana.state, .open)
        ana.lock()
        keys.confirms = false
        await fails(with: .Biometrics(reason: .cancelled)) { try await ana.unlockWithBiometrics() }
        keys.confirms = true
        // Somebody has added a finger: the platform has dropped the key.
        try keys.delete(alias: .biometric)
        await fails(with: .Biometrics(reason: .off)) { try await ana.unlockWithBiometrics() }
        let left = try await ana.biometrics()
        XCTAssertFalse(left)
        try await ana.unlock(passcode())
        let inProgress = try await ana.visits.inProgress()
        XCTAssertEqual(inProgress?.id, visit.id)
    }

    func testAPhoneThatStaysAwayClosesAndACheckInOpensItAgain() async throws {
        let clock = TestClock()
        let ana = try await enrolled("ana", clock: clock)
        let day: TimeInterval = 24 * 60 * 60
        XCTAssertEqual(try ana.lease().state, .fresh)
        clock.ahead = 4 * day
        let idle = try await ana.tick()
        XCTAssertEqual(idle, .idle)
        try await ana.unlock(passcode())
        clock.ahead = 8 * day
        let away = try await ana.tick()
        XCTAssertEqual(away, .lease)
        await fails(with: .LeaseEnded) { try await ana.unlock(passcode()) }
        try await ana.checkIn()
        try await ana.unlock(passcode())
        XCTAssertEqual(ana.state, .open)
    }

    func testARootedPhoneIsRefusedWhereThePolicySaysSo() async throws {
        let ana = try await enrolled("ana")
        let allowed = try await ana.setPosture(Posture(rooted: true))
        XCTAssertNil(allowed)
        XCTAssertEqual(ana.concerns, [PostureFinding(concern: .rooted, verdict: .warn)])
        try server.rooted("lock")
        try await ana.checkIn()
        let closed = try await ana.tick()
        XCTAssertEqual(closed, .posture)
        await fails(with: .PostureRefused(concerns: [.rooted])) { try await ana.unlock(passcode()) }
        try await ana.setPosture(Posture(rooted: false))
        try await ana.unlock(passcode())
        XCTAssertEqual(ana.state, .open)
    }

    func testAnOldCopyOfTheVaultIsKnownByTheMarkInTheKeystore() async throws {
        let keys = FingerKeys(SoftwareKeys(dir: folder.appendingPathComponent("keys").path))
        let vault = folder.appendingPathComponent("ana/vault")
        let old = folder.appendingPathComponent("old")
        try await work(keys, keepingACopyOf: vault, in: old)
        try FileManager.default.removeItem(at: vault)
        try FileManager.default.copyItem(at: old, to: vault)
        let ana = try await phone("ana", keys: keys)
        await fails(with: .RolledBack) { try await ana.unlock(passcode()) }
    }

    private func work(_ keys: PlatformKeys, keepingACopyOf vault: URL, in copy: URL) async throws {
        let ana = try await enrolled("ana", keys: keys)
        ana.lock()
        try FileManager.default.copyItem(at: vault, to: copy)
        try await ana.unlock(passcode())
        _ = try await ana.visit()
        try await ana.sync()
        ana.lock()
    }

    func testANewKeyOpensTheSameVaultAndAnErasedOneNothing() async throws {
        let ana = try await enrolled("ana")
        let visit = try await ana.visit()
        try await ana.rotateVaultKey(passcode())
        try await ana.checkStore()
        let inProgress = try await ana.visits.inProgress()
        XCTAssertEqual(inProgress?.id, visit.id)
        await fails(with: .PasscodeNeeded) { try await ana.eraseWithoutPasscode() }
        try await ana.erase(passcode())
        while ana.state != .wiped { try await ana.checkIn() }
        XCTAssertEqual(try server.status("ana"), "Wiped")
    }

    func testTwoOrganisationsLiveSideBySide() async throws {
        let other = try TestServer()
        defer { other.stop() }
        let host = TestHost(folder)
        let profiles = try await RoundsmanProfiles.at(
            folder: folder.appendingPathComponent("profiles"), host: host, deviceName: "ana", platform: "linux")
        let (here, there) = (try await profiles.add(), try await profiles.add())
        let (first, second) = (try await profiles.open(here), try await profiles.open(there))
        try await first.enrol(ticket: server.ticket(), passcode: passcode())
        try await second.enrol(ticket: other.ticket(), passcode: passcode("Red kayak 70"))
        try await second.sync()
        XCTAssertEqual(host.keptOut.count, 2)
        await fails(with: .ProfileHoldsVault) { try await profiles.remove(here) }
        try server.wipe("ana")
        while first.state != .wiped { try await first.checkIn() }
        try await profiles.remove(here)
        let left = try await profiles.ids()
        XCTAssertEqual(left, [there])
        let count = try await second.customers.count()
        XCTAssertEqual(count, 5)
    }
}
