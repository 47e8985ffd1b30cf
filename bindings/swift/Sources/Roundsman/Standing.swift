import RoundsmanFace

/// How the device stands before its organisation.
extension Roundsman {
    /// The organisation's rules.
    public var policy: Policy { client.policy() }

    /// What about the phone the policy warns of or refuses.
    public var concerns: [PostureFinding] { client.concerns() }

    /// How long the device may stay away from its server.
    public func lease() throws -> LeaseStatus {
        try client.lease()
    }

    /// The person has touched the app: the idle lock starts anew.
    public func touch() {
        client.touch()
    }

    /// What time brings: closes the vault after the policy's time without a touch, or when the lease has ended. Call
    /// it every minute while the app runs, and when it comes to the foreground. Says why the vault was closed by it.
    @discardableResult
    public func tick() async throws -> ClosedReason? {
        try await client.tick()
    }

    /// Takes what the app found out about the phone. Call it after each start, before the passcode is asked for. Says
    /// whether the vault was closed because of it.
    @discardableResult
    public func setPosture(_ posture: Posture) async throws -> ClosedReason? {
        try await client.setPosture(posture: posture)
    }

    /// Looks whether every part of the store is of the same state. Call it once a week.
    public func checkStore() async throws {
        try await client.checkStore()
    }
}
