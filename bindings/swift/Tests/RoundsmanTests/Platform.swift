import Foundation
import Roundsman

/// A value that a test sets and the library reads from its own threads.
final class Shared<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func read() -> Value {
        lock.lock()
        defer { lock.unlock() }
        return value
    }

    func change(_ change: (inout Value) -> Void) {
        lock.lock()
        defer { lock.unlock() }
        change(&value)
    }
}

/// A clock that can be put ahead, as if the phone had lain in a drawer.
final class TestClock: HostClock {
    private let start = UUID()
    private let offset = Shared<TimeInterval>(0)

    var ahead: TimeInterval {
        get { offset.read() }
        set { offset.change { $0 = newValue } }
    }

    func now() throws -> Date {
        Date().addingTimeInterval(ahead)
    }

    func boot() throws -> BootTime? {
        BootTime(boot: start, elapsed: ProcessInfo.processInfo.systemUptime + ahead)
    }
}

/// A keystore whose biometric key asks a person who may say no.
final class FingerKeys: PlatformKeys {
    private let keys: SoftwareKeys
    private let finger = Shared(true)

    init(_ keys: SoftwareKeys) {
        self.keys = keys
    }

    var confirms: Bool {
        get { finger.read() }
        set { finger.change { $0 = newValue } }
    }

    func create(alias: KeyAlias) throws { try keys.create(alias: alias) }
    func exists(alias: KeyAlias) throws -> Bool { try keys.exists(alias: alias) }

    func hmac(alias: KeyAlias, data: Data) throws -> Data {
        if alias == .biometric && !confirms { throw KeyError.Cancelled }
        return try keys.hmac(alias: alias, data: data)
    }

    func publicKey(alias: KeyAlias) throws -> Data { try keys.publicKey(alias: alias) }
    func sign(alias: KeyAlias, message: Data) throws -> Data { try keys.sign(alias: alias, message: message) }
    func delete(alias: KeyAlias) throws { try keys.delete(alias: alias) }
    func hardware() throws -> Bool { false }
    func mark() throws -> Data? { try keys.mark() }
    func setMark(mark: Data) throws { try keys.setMark(mark: mark) }
}

/// An app that gives each profile a keystore of its own.
final class TestHost: ProfileHost {
    private let folder: URL
    private let folders = Shared<Set<String>>([])

    init(_ folder: URL) {
        self.folder = folder
    }

    /// The folders that are to be kept out of backups.
    var keptOut: Set<String> { folders.read() }

    func keys(profile: UUID) throws -> PlatformKeys {
        SoftwareKeys(dir: folder.appendingPathComponent("keys/\(profile)").path)
    }

    func keepOutOfBackups(folder: String) throws {
        folders.change { $0.insert(folder) }
    }
}
