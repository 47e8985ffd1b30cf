package dev.roundsman

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch

/** What the person does to the vault: a new key, the end, and a beginning after it. */
class EndingTest {
    @Test
    fun `a phone is erased by its user alone and what was not sent is rescued`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        ana.visit()
        val unsent = ana.outbox.count()
        assertFailsWith<RoundsmanException.PasscodeNeeded> { ana.eraseWithoutPasscode() }
        assertFailsWith<RoundsmanException.WrongPasscode> { ana.erase(passcode("Wrong kayak 9")) }
        assertEquals(ClientState.OPEN, ana.state.value)
        ana.erase(passcode())
        assertEquals(ClientState.WIPING, ana.state.value)
        while (ana.state.value != ClientState.WIPED) ana.checkIn()
        assertEquals("Wiped", rig.server.status("ana"))
        assertEquals(unsent.toInt(), rig.server.rescued("ana"))
    }

    @Test
    fun `a phone whose keystore was lost starts over only then`() = onRig { rig ->
        val keys = JvmKeys()
        rig.enrolled("ana", keys).close()
        val startOver = suspend { Roundsman.startOver(rig.folder("ana"), keys, "ana", "jvm") }
        assertFailsWith<RoundsmanException.PasscodeNeeded> { startOver() }
        KeyAlias.entries.forEach(keys::delete)
        assertFailsWith<RoundsmanException.KeyGone> { rig.phone("ana", keys) }
        startOver().use { ana ->
            assertEquals(ClientState.NEW, ana.state.value)
            assertNull(ana.profile)
            ana.enrol(rig.server.ticket(), passcode())
            ana.sync()
            assertEquals(5u, ana.customers.count())
        }
    }

    @Test
    fun `a new key opens the same vault and changes go on`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        ana.rotateVaultKey(passcode())
        assertEquals(ClientState.OPEN, ana.state.value)
        ana.checkStore()
        val heard = Channel<Change>(Channel.UNLIMITED)
        val collecting = launch(Dispatchers.Default) { ana.changes.collect(heard::send) }
        var customer = ana.customers.list(limit = 1u).single()
        suspend fun hear() {
            while (heard.tryReceive().isSuccess) Unit
            while (heard.isEmpty) customer = ana.customers.save(customer, customer.copy(city = "A${System.nanoTime()}"))
        }
        hear()
        ana.rotateVaultKey(passcode())
        hear()
        collecting.cancelAndJoin()

        ana.lock()
        ana.unlock(passcode())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
        assertTrue(ana.sync().sent > 0u)
        ana.checkStore()
    }
}
