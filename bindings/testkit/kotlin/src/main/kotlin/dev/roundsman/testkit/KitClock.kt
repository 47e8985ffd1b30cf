package dev.roundsman.testkit

import dev.roundsman.BootTime
import dev.roundsman.HostClock
import java.time.Instant
import java.util.UUID

/**
 * The server's clock as the phone's: give it to `Roundsman.open`, and [KitServer.advance] moves both. Without it the phone
 * goes by the system's clock while the server's stands still, which is of no matter as long as nobody moves it.
 */
class KitClock(private val server: KitServer) : HostClock {
    override fun now(): Instant = server.now()

    override fun boot() = BootTime(UUID(0, 1), server.elapsed())
}
