package dev.roundsman

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

class BiometricsTest {
    private suspend fun refusal(phone: Roundsman): BiometricsFlaw =
        assertFailsWith<RoundsmanException.Biometrics> { phone.unlockWithBiometrics() }.reason

    @Test
    fun `a finger opens the vault and losing it loses nothing`() = onRig { rig ->
        val keys = JvmKeys()
        val ana = rig.enrolled("ana", keys)
        val visit = ana.visit()
        ana.lock()
        assertEquals(BiometricsFlaw.OFF, refusal(ana))
        ana.unlock(passcode())
        ana.enableBiometrics(passcode())
        assertTrue(ana.biometrics())
        ana.lock()
        ana.unlockWithBiometrics()
        assertEquals(ClientState.OPEN, ana.state.value)

        ana.lock()
        keys.finger = KeyException.Cancelled()
        assertEquals(BiometricsFlaw.CANCELLED, refusal(ana))
        keys.finger = KeyException.LockedOut()
        assertEquals(BiometricsFlaw.LOCKED_OUT, refusal(ana))
        keys.finger = null
        // Somebody has added a finger: the platform has dropped the key.
        keys.delete(KeyAlias.BIOMETRIC)
        assertEquals(BiometricsFlaw.OFF, refusal(ana))
        assertFalse(ana.biometrics())
        assertEquals(ClientState.CLOSED, ana.state.value)
        ana.unlock(passcode())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
        assertTrue(ana.sync().sent > 0u)
    }

    @Test
    fun `what fails with a finger is never an attempt at the passcode`() = onRig { rig ->
        val keys = JvmKeys()
        val ana = rig.enrolled("ana", keys)
        ana.enableBiometrics(passcode())
        ana.lock()
        keys.finger = KeyException.Cancelled()
        repeat(20) { refusal(ana) }
        val wrong = assertFailsWith<RoundsmanException.WrongPasscode> { ana.unlock(passcode("Wrong kayak 9")) }
        assertEquals(9u, wrong.attemptsLeft)
    }

    @Test
    fun `the organisation can forbid it and the person can turn it off`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        ana.enableBiometrics(passcode())
        rig.server.biometrics(false)
        ana.sync()
        assertFalse(ana.policy.biometrics)
        ana.lock()
        assertEquals(BiometricsFlaw.NOT_ALLOWED, refusal(ana))
        ana.unlock(passcode())
        rig.server.biometrics(true)
        ana.sync()
        ana.enableBiometrics(passcode())
        ana.disableBiometrics()
        ana.lock()
        assertEquals(BiometricsFlaw.OFF, refusal(ana))
    }

    @Test
    fun `after three days the passcode is asked for once`() = onRig { rig ->
        val clock = JvmClock()
        val ana = rig.enrolled("ana", clock = clock)
        ana.enableBiometrics(passcode())
        ana.lock()
        clock.ahead = java.time.Duration.ofHours(73)
        assertEquals(BiometricsFlaw.EXPIRED, refusal(ana))
        ana.unlock(passcode())
        ana.lock()
        ana.unlockWithBiometrics()
        assertEquals(ClientState.OPEN, ana.state.value)
    }
}
