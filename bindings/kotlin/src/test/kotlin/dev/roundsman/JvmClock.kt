package dev.roundsman

import java.time.Duration
import java.time.Instant
import java.util.UUID

/** A clock that can be put ahead, as if the phone had lain in a drawer. */
class JvmClock : HostClock {
    private val boot = UUID.randomUUID()
    private val started = System.nanoTime()

    /** How far it is ahead. */
    @Volatile
    var ahead: Duration = Duration.ZERO

    /** How far the wall clock alone was turned. */
    @Volatile
    var turned: Duration = Duration.ZERO

    override fun now(): Instant = Instant.now() + ahead + turned

    override fun boot() = BootTime(boot, Duration.ofNanos(System.nanoTime() - started) + ahead)
}
