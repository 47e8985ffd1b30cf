import Foundation
@_exported import RoundsmanFace

/// The client as a Swift app uses it: one for each folder, for as long as the process lives.
///
/// Every call may be made from any task or thread. Failures are ``RoundsmanError``s, and each says what to do.
/// Cancelling the task stops a sync at once; what was stored stays, and the next sync goes on from there.
public final class Roundsman: Sendable {
    let client: RoundsmanClient

    /// The customers. Calls fail with `.Locked` while the vault is closed.
    public let customers: Customers

    /// The visits. Calls fail with `.Locked` while the vault is closed.
    public let visits: Visits

    /// What was not sent, or was refused. Calls fail with `.Locked` while the vault is closed.
    public let outbox: Outbox

    /// Values that lost in a collision of two edits. Calls fail with `.Locked` while the vault is closed.
    public let conflicts: Conflicts

    /// Photos, signatures and files of visits and customers. Calls fail with `.Locked` while the vault is closed.
    public let attachments: Attachments

    /// Opens the client in `folder`, which is its own: nobody else may touch what is inside. Finishes a lock or a
    /// wipe that was interrupted before anything else.
    ///
    /// - Parameters:
    ///   - deviceName: What the person calls the device; shown to the administrator.
    ///   - clock: The time since the phone was started; without it the system's own clock is taken.
    ///   - attachments: How much may be attached, and over which networks it is sent.
    public static func open(
        folder: URL, keys: PlatformKeys, deviceName: String, platform: String, clock: HostClock? = nil,
        attachments: AttachmentOptions? = nil
    ) async throws -> Roundsman {
        let options = Options(
            dir: folder.path, deviceName: deviceName, platform: platform, attachments: attachments)
        return Roundsman(try await RoundsmanClient.open(options: options, keys: keys, clock: clock))
    }

    /// Removes a vault that the platform has lost the key of, once the person has agreed to it, and opens the client
    /// as a new one: after ``open(folder:keys:deviceName:platform:clock:attachments:)`` has failed with
    /// `.KeyGone`.
    public static func startOver(
        folder: URL, keys: PlatformKeys, deviceName: String, platform: String, clock: HostClock? = nil,
        attachments: AttachmentOptions? = nil
    ) async throws -> Roundsman {
        let options = Options(
            dir: folder.path, deviceName: deviceName, platform: platform, attachments: attachments)
        return Roundsman(try await RoundsmanClient.startOver(options: options, keys: keys, clock: clock))
    }

    init(_ client: RoundsmanClient) {
        self.client = client
        customers = client.customers()
        visits = client.visits()
        outbox = client.outbox()
        conflicts = client.conflicts()
        attachments = client.attachments()
    }

    /// What the client is ready for: which screen to show.
    public var state: ClientState { client.state() }

    /// Who is enrolled and where; nil before enrolment and after a wipe.
    public var profile: Profile? { client.profile() }

    /// Joins an organisation with the text of its enrolment code, and sets the passcode. Leaves the client open and
    /// empty: ``sync(onStep:)`` fetches the data. Empties `passcode`.
    public func enrol(ticket: String, passcode: Passcode) async throws {
        try await client.enrol(ticket: ticket, passcode: passcode)
    }

    /// Begins to join an organisation that compares digits: show `digits()`, ask `isConfirmed()` every few seconds,
    /// then call `finish(passcode:)`.
    public func beginEnrolment(ticket: String) async throws -> PendingEnrolment {
        try await client.beginEnrolment(ticket: ticket)
    }

    /// Takes the organisation's signed keys from a code that the administrator shows, without a network: when the
    /// server's keys were replaced and every call fails with `WrongPin`. Returns their version.
    @discardableResult
    public func takeRootBundle(_ text: String) async throws -> UInt32 {
        try await client.takeRootBundle(text: text)
    }

    /// Opens the vault; takes about half a second by design. Empties `passcode`.
    public func unlock(_ passcode: Passcode) async throws {
        try await client.unlock(passcode: passcode)
    }

    /// Closes the vault: keys leave memory, unsent work stays. Returns when it is done, so that it can be called
    /// while the app goes to the background; not while the platform asks for a finger or face: it waits for the
    /// answer.
    public func lock() {
        client.lock()
    }

    /// Sends what is unsent and fetches what is new. `onStep` is called from a thread of the library.
    @discardableResult
    public func sync(onStep: (@Sendable (SyncStep) -> Void)? = nil) async throws -> SyncReport {
        try await cancellable { try await client.sync(progress: onStep.map(Steps.init), cancel: $0) }
    }

    /// Checks everything on the device and with the server, and mends what it can; what was wrong is in the findings. Reads
    /// everything once: for a screen of the app's, or now and then while the phone is charged. Ends with its task.
    /// `onChecked` is called from a thread of the library with how much of a part is done, of how much.
    public func verify(
        onChecked: (@Sendable (CheckedPart, UInt64, UInt64) -> Void)? = nil
    ) async throws -> Verified {
        try await cancellable { try await client.verify(progress: onChecked.map(Checks.init), cancel: $0) }
    }

    /// Reports to the server and carries out the administrator's commands. Needs no passcode: call it from the
    /// background, while locked, and during a wipe.
    @discardableResult
    public func checkIn() async throws -> [DeviceEvent] {
        try await client.checkIn()
    }

    /// What changes from now on, commit by commit, until the vault closes or the stream is dropped. Ask again after
    /// the next unlock.
    public func changes() throws -> AsyncStream<Change> {
        let (stream, continuation) = AsyncStream.makeStream(of: Change.self)
        let subscription = try client.observe(observer: Changes(continuation: continuation))
        continuation.onTermination = { _ in subscription.end() }
        return stream
    }
}

/// A call that ends with its task.
func cancellable<T: Sendable>(_ call: (CancelHandle) async throws -> T) async throws -> T {
    let cancel = CancelHandle()
    return try await withTaskCancellationHandler {
        try await call(cancel)
    } onCancel: {
        cancel.cancel()
    }
}

extension Passcode {
    /// Moves a passcode into the library. Swift can't overwrite a `String`: for a keypad of your own, make an empty
    /// `Passcode` and `push` each key, and nothing of it is ever in a string.
    public convenience init(typed: String) throws {
        self.init()
        for scalar in typed.unicodeScalars {
            try push(codePoint: scalar.value)
        }
    }
}

private final class Steps: SyncProgress {
    private let onStep: @Sendable (SyncStep) -> Void

    init(_ onStep: @escaping @Sendable (SyncStep) -> Void) {
        self.onStep = onStep
    }

    func step(step: SyncStep) {
        onStep(step)
    }
}

private final class Checks: CheckProgress {
    private let onChecked: @Sendable (CheckedPart, UInt64, UInt64) -> Void

    init(_ onChecked: @escaping @Sendable (CheckedPart, UInt64, UInt64) -> Void) {
        self.onChecked = onChecked
    }

    func checked(part: CheckedPart, done: UInt64, of: UInt64) {
        onChecked(part, done, of)
    }
}

private final class Changes: Observer {
    private let continuation: AsyncStream<Change>.Continuation

    init(continuation: AsyncStream<Change>.Continuation) {
        self.continuation = continuation
    }

    func changed(change: Change) {
        continuation.yield(change)
    }
}
