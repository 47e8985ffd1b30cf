package dev.roundsman

import java.nio.file.Files
import java.nio.file.Path
import java.time.Duration
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Phones that are left alone, turned back, or in a state that the organisation does not want. */
class AwayTest {
    @Test
    fun `a phone that stays away closes and a check-in opens it again`() = onRig { rig ->
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        val visit = ana.visit()
        assertEquals(LeaseState.Fresh, ana.lease().state)
        assertNull(ana.tick())
        clock.ahead = Duration.ofDays(4)
        val warning = assertNotNull(ana.lease().state as? LeaseState.Warn)
        assertTrue(warning.untilLock in Duration.ofDays(2)..Duration.ofDays(3))
        assertEquals(ClosedReason.IDLE, ana.tick())
        assertEquals(ClientState.CLOSED, ana.state.value)
        ana.unlock(passcode())

        clock.ahead = Duration.ofDays(8)
        assertEquals(ClosedReason.LEASE, ana.tick())
        assertFailsWith<RoundsmanException.LeaseEnded> { ana.unlock(passcode()) }
        assertFailsWith<RoundsmanException.LeaseEnded> { ana.sync() }
        ana.checkIn()
        ana.unlock(passcode())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
        assertTrue(ana.sync().sent > 0u)
    }

    @Test
    fun `a phone that never comes back wipes itself and its work is rescued`() = onRig { rig ->
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        ana.visit()
        val unsent = ana.outbox.count()
        clock.ahead = Duration.ofDays(31)
        assertEquals(ClosedReason.WIPED, ana.tick())
        assertEquals(ClientState.WIPING, ana.state.value)
        while (ana.state.value != ClientState.WIPED) ana.checkIn()
        assertEquals(unsent.toInt(), rig.server.rescued("ana"))
    }

    @Test
    fun `an idle vault closes and a touch keeps it open`() = onRig { rig ->
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        val idle = ana.policy.idleLock
        clock.ahead = idle.minusSeconds(20)
        ana.touch()
        clock.ahead = idle.plusSeconds(20)
        assertNull(ana.tick())
        clock.ahead = idle.multipliedBy(3)
        assertEquals(ClosedReason.IDLE, ana.tick())
        assertFailsWith<RoundsmanException.Locked> { ana.customers.count() }
    }

    @Test
    fun `a passcode that is too old is changed before anything but the outbox opens`() = onRig { rig ->
        rig.server.lease(days = 300)
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        val visit = ana.visit()
        assertNull(ana.passcodeDue())
        clock.ahead = Duration.ofDays(85)
        assertEquals(PasscodeDue.Warn(5u), ana.passcodeDue())
        assertEquals(5u, ana.customers.count())
        clock.ahead = Duration.ofDays(91)
        assertEquals(PasscodeDue.Now, ana.passcodeDue())
        assertFailsWith<RoundsmanException.PasscodeExpired> { ana.customers.count() }
        assertFailsWith<RoundsmanException.PasscodeExpired> { ana.sync() }
        assertTrue(ana.outbox.count() > 0u)
        ana.changePasscode(passcode(), passcode("Red kayak 70"))
        assertNull(ana.passcodeDue())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
        assertTrue(ana.sync().sent > 0u)
    }

    @Test
    fun `a clock that is turned back or years ahead is told and put right by the server`() = onRig { rig ->
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        clock.turned = Duration.ofDays(-2)
        assertEquals(ClosedReason.CLOCK, ana.tick())
        assertFailsWith<RoundsmanException.ClockTurnedBack> { ana.unlock(passcode()) }
        clock.turned = Duration.ofDays(3000)
        assertFailsWith<RoundsmanException.ClockImplausible> { ana.unlock(passcode()) }
        ana.checkIn()
        ana.unlock(passcode())
        assertEquals(ClientState.OPEN, ana.state.value)
    }

    @Test
    fun `a rooted phone is warned of and refused where the policy says so`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        assertNull(ana.setPosture(Posture(rooted = true)))
        assertEquals(listOf(PostureFinding(Concern.ROOTED, PostureVerdict.WARN)), ana.concerns)
        rig.server.rooted("lock")
        ana.checkIn()
        assertEquals(ClosedReason.POSTURE, ana.tick())
        val refused = assertFailsWith<RoundsmanException.PostureRefused> { ana.unlock(passcode()) }
        assertEquals(listOf(Concern.ROOTED), refused.concerns)
        assertNull(ana.setPosture(Posture(rooted = false)))
        ana.unlock(passcode())
        assertEquals(ClosedReason.POSTURE, ana.setPosture(Posture(rooted = true)))
        ana.setPosture(Posture(rooted = false))
        ana.unlock(passcode())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
    }

    @Test
    fun `an old copy of the vault that was put back is known by the mark in the keystore`() = onRig { rig ->
        val keys = JvmKeys()
        val ana = rig.enrolled("ana", keys)
        val folder = rig.folder("ana")
        ana.lock()
        val old = Files.createTempDirectory("roundsman")
        copy(folder, old)
        ana.unlock(passcode())
        ana.visit()
        ana.sync()
        ana.close()

        folder.toFile().deleteRecursively()
        copy(old, folder)
        old.toFile().deleteRecursively()
        val again = rig.phone("ana", keys)
        assertFailsWith<RoundsmanException.RolledBack> { again.unlock(passcode()) }
        assertTrue(keys.mark()!!.size <= 256)
    }

    private fun copy(from: Path, to: Path) = from.toFile().copyRecursively(to.toFile(), overwrite = true)
}
