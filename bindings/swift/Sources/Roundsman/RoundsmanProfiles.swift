import Foundation
import RoundsmanFace

/// Several organisations on one phone, each with a vault, keys and a session of its own.
///
/// Their folders are let go when this is dropped, not when one ``Roundsman`` is.
public final class RoundsmanProfiles: Sendable {
    private let profiles: Profiles

    /// The profiles in `folder`. `host` gives each its keys, and keeps its folder out of backups.
    public static func at(
        folder: URL, host: ProfileHost, deviceName: String, platform: String, clock: HostClock? = nil,
        attachments: AttachmentOptions? = nil
    ) async throws -> RoundsmanProfiles {
        let options = Options(
            dir: folder.path, deviceName: deviceName, platform: platform, attachments: attachments)
        return RoundsmanProfiles(try await Profiles.at(options: options, host: host, clock: clock))
    }

    private init(_ profiles: Profiles) {
        self.profiles = profiles
    }

    /// The profiles that are there, oldest first.
    public func ids() async throws -> [UUID] {
        try await profiles.ids()
    }

    /// Makes a new profile, to be opened and enrolled.
    public func add() async throws -> UUID {
        try await profiles.add().id
    }

    /// The client of a profile. Asked again, it is the same vault and the same session.
    public func open(_ id: UUID) async throws -> Roundsman {
        Roundsman(try await profiles.open(id: id))
    }

    /// Removes what is left of a profile that was wiped, or was never enrolled; fails with `.ProfileHoldsVault` if
    /// only a wipe may remove it. Its clients are of no use afterwards.
    public func remove(_ id: UUID) async throws {
        try await profiles.remove(id: id)
    }
}
