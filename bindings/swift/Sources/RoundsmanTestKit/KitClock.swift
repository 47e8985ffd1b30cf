import Foundation
import Roundsman
@_exported import RoundsmanKitFace

/// The server's clock as the phone's: give it to `Roundsman.open`, and `KitServer.advance` moves both. Without it the phone
/// goes by the system's clock while the server's stands still, which is of no matter as long as nobody moves it.
public final class KitClock: HostClock {
    private static let start = UUID()
    private let server: KitServer

    public init(_ server: KitServer) {
        self.server = server
    }

    public func now() throws -> Date {
        server.now()
    }

    public func boot() throws -> BootTime? {
        BootTime(boot: Self.start, elapsed: server.elapsed())
    }
}
