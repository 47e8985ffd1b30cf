import Foundation
import RoundsmanFace

/// Hearing from the server: in the foreground by a channel, in the background by the system's scheduler and push.
extension Roundsman {
    /// Listens to the server for as long as the task runs, and syncs or checks in when it is poked: for the time that the
    /// app is in the foreground. Returns when the device is wiped, when the task is cancelled, or if another call listens
    /// already; the listening is over then, so that it may be called anew.
    ///
    /// - Parameters:
    ///   - listening: Its `tryNow()` tries at once: call it when the network is back.
    ///   - onHeard: Is called from the thread that listens, and must be quick.
    @discardableResult
    public func listen(
        _ listening: Listening = Listening(), onHeard: (@Sendable (Heard) -> Void)? = nil
    ) async throws -> Ended {
        try await withTaskCancellationHandler {
            try await client.listen(listening: listening, watcher: onHeard.map(Ear.init))
        } onCancel: {
            listening.stop()
        }
    }

    /// Checks in, and syncs if the vault is open, for a `BGAppRefreshTask`; tries again until `deadline` has passed. Needs
    /// no passcode. `next` says when to come again. Cancel the task when the system takes the time back.
    public func backgroundSync(deadline: TimeInterval) async throws -> Woken {
        try await cancellable { try await client.backgroundSync(deadline: deadline, cancel: $0) }
    }

    /// Does what the data of a push message asks for, within 25 seconds; nothing else in it is believed. Nil if it is no
    /// message of this system.
    public func handlePush(_ payload: Data) async throws -> Woken? {
        try await cancellable { try await client.handlePush(payload: payload, cancel: $0) }
    }

    /// What the app knows of the network, from an `NWPathMonitor`: attachments are not sent over a metered one
    /// (`isExpensive`).
    public func setNetwork(_ network: NetworkKind) {
        client.setNetwork(network: network)
    }
}

private final class Ear: Watcher {
    private let onHeard: @Sendable (Heard) -> Void

    init(_ onHeard: @escaping @Sendable (Heard) -> Void) {
        self.onHeard = onHeard
    }

    func heard(heard: Heard) {
        onHeard(heard)
    }
}
