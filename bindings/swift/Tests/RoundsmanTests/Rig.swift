import Foundation
import Roundsman
import XCTest

/// Every phone's passcode.
func passcode(_ typed: String = "copper Kayak 27") throws -> Passcode {
    try Passcode(typed: typed)
}

/// A test with a server, and folders for its phones that are gone afterwards.
class RigTestCase: XCTestCase {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    private(set) var server: TestServer!

    override func setUpWithError() throws {
        server = try TestServer()
    }

    override func tearDown() {
        server.stop()
        try? FileManager.default.removeItem(at: folder)
    }

    func phone(
        _ name: String, keys: PlatformKeys? = nil, clock: HostClock? = nil, attachments: AttachmentOptions? = nil
    ) async throws -> Roundsman {
        let place = folder.appendingPathComponent(name)
        let keys = keys ?? SoftwareKeys(dir: place.appendingPathComponent("keys").path)
        return try await Roundsman.open(
            folder: place.appendingPathComponent("vault"), keys: keys, deviceName: name, platform: "linux",
            clock: clock, attachments: attachments)
    }

    func enrolled(
        _ name: String, keys: PlatformKeys? = nil, clock: HostClock? = nil, attachments: AttachmentOptions? = nil
    ) async throws -> Roundsman {
        let phone = try await phone(name, keys: keys, clock: clock, attachments: attachments)
        try await phone.enrol(ticket: server.ticket(), passcode: passcode())
        try await phone.sync()
        return phone
    }

    func fails(with expected: RoundsmanError, _ call: () async throws -> Void) async {
        do {
            try await call()
            XCTFail("it did not fail with \(expected)")
        } catch {
            XCTAssertEqual(error as? RoundsmanError, expected)
        }
    }
}

extension Roundsman {
    /// Starts a visit at the first customer: work that is not sent yet.
    func visit() async throws -> Visit {
        let customer = try await customers.list(limit: 1)[0]
        return try await visits.start(customer: customer.id)
    }
}
