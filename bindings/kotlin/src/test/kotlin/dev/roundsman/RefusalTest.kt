package dev.roundsman

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class RefusalTest {
    @Test
    fun `a wrong passcode says how many attempts are left and the right one opens`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        ana.lock()
        assertEquals(ClientState.CLOSED, ana.state.value)
        assertFailsWith<RoundsmanException.Locked> { ana.customers.count() }
        val left = List(2) {
            assertFailsWith<RoundsmanException.WrongPasscode> { ana.unlock(passcode("975310")) }.attemptsLeft.toInt()
        }
        assertEquals(left[0] - 1, left[1])
        ana.unlock(passcode())
        assertEquals(5u, ana.customers.count())

        ana.changePasscode(passcode(), passcode("Red kayak 70"))
        ana.lock()
        assertFailsWith<RoundsmanException.WrongPasscode> { ana.unlock(passcode()) }
        ana.unlock(passcode("Red kayak 70"))
    }

    @Test
    fun `an easy passcode is refused before anything is sent and the array is blank afterwards`() = onRig { rig ->
        val ana = rig.phone("ana", JvmKeys())
        val ticket = rig.server.ticket()
        val cases = listOf(
            "12345" to PasscodeFlaw.TooShort(6u),
            "123456" to PasscodeFlaw.Run,
            "831492" to PasscodeFlaw.TooShort(10u),
            "copper kayak" to PasscodeFlaw.FewClasses(3u),
        )
        for ((typed, flaw) in cases) {
            val array = typed.toCharArray()
            val passcode = array.toPasscode()
            assertContentEquals(CharArray(typed.length), array)
            val weak = assertFailsWith<RoundsmanException.WeakPasscode> { ana.enrol(ticket, passcode) }
            assertEquals(flaw, weak.flaw)
            assertEquals(0u, passcode.count(), "the call has emptied it")
        }
        val noText = charArrayOf('\uD83D')
        assertFailsWith<RoundsmanException.WeakPasscode> { noText.toPasscode() }
        assertContentEquals(CharArray(1), noText)
        ana.enrol(ticket, passcode("🔑 Clé bleue"))
        assertEquals(ClientState.OPEN, ana.state.value)
    }

    @Test
    fun `each rule that a passcode breaks is told while it is typed`() = onRig { rig ->
        val ana = rig.phone("ana", JvmKeys())
        ana.passcodeRules().use { rules ->
            assertEquals(10u to true, rules.minCharacters() to rules.strong())
            assertEquals(listOf(3u, 90u, 5u), listOf(rules.classes(), rules.maxAgeDays(), rules.history()))
            val typed = passcode("passwo")
            assertEquals(listOf(PasscodeFlaw.TooShort(10u), PasscodeFlaw.FewClasses(3u)), rules.check(typed))
            "rd".forEach { typed.push(it.code.toUInt()) }
            assertTrue(PasscodeFlaw.Common in rules.check(typed))
            assertEquals(8u, typed.count(), "looking leaves it as it is")
            assertEquals(emptyList(), rules.check(passcode()))
        }
        ana.enrol(rig.server.ticket(), passcode())
        ana.passcodeRules().use { assertTrue(PasscodeFlaw.Personal in it.check(passcode("Dear Ana 27 kayak"))) }
        assertEquals(null, ana.passcodeDue())
        val same = assertFailsWith<RoundsmanException.WeakPasscode> { ana.changePasscode(passcode(), passcode()) }
        assertEquals(PasscodeFlaw.Unchanged, same.flaw)
        ana.changePasscode(passcode(), passcode("Red kayak 70"))
        val again = assertFailsWith<RoundsmanException.WeakPasscode> {
            ana.changePasscode(passcode("Red kayak 70"), passcode())
        }
        assertEquals(PasscodeFlaw.UsedBefore, again.flaw)
    }

    @Test
    fun `a used code and a text that is none are told apart`() = onRig { rig ->
        val ticket = rig.server.ticket()
        rig.phone("ana", JvmKeys()).enrol(ticket, passcode())
        val bo = rig.phone("bo", JvmKeys())
        assertFailsWith<RoundsmanException.TicketUsed> { bo.enrol(ticket, passcode()) }
        assertFailsWith<RoundsmanException.TicketInvalid> { bo.enrol("https://example.com", passcode()) }
        assertFailsWith<RoundsmanException.NotEnrolled> { bo.unlock(passcode()) }
        assertEquals(ClientState.NEW, bo.state.value)
    }

    @Test
    fun `a phone is let in by the digits on both screens and takes no keys that are none`() = onRig { rig ->
        rig.server.compare()
        val ticket = rig.server.ticket()
        val ana = rig.phone("ana", JvmKeys())
        assertFailsWith<RoundsmanException.ConfirmationNeeded> { ana.enrol(ticket, passcode()) }
        ana.beginEnrolment(ticket).use { pending ->
            assertEquals(rig.server.digits(), pending.digits())
            assertEquals(false, pending.isConfirmed())
            rig.server.confirm()
            assertEquals(true, pending.isConfirmed())
            assertEquals(true, ana.finishEnrolment(pending, passcode()))
        }
        assertEquals(ClientState.OPEN, ana.state.value)
        assertFailsWith<RoundsmanException.RootBundle> { ana.takeRootBundle(ticket) }
    }

    @Test
    fun `a lost key is told from a keystore that fails for now`() = onRig { rig ->
        val keys = JvmKeys()
        val ana = rig.enrolled("ana", keys)
        ana.lock()
        keys.failure = KeyException.LockedOut()
        val busy = assertFailsWith<RoundsmanException.Keystore> { ana.unlock(passcode()) }
        assertTrue(busy.reason is KeyException.LockedOut)
        keys.failure = IllegalStateException("a bug of the app")
        val failed = assertFailsWith<RoundsmanException.Keystore> { ana.unlock(passcode()) }
        assertTrue(failed.reason is KeyException.Transient)
        keys.failure = null
        ana.unlock(passcode())
        ana.lock()

        keys.delete(KeyAlias.WRAP)
        assertFailsWith<RoundsmanException.KeyGone> { ana.unlock(passcode()) }
        assertEquals(ClientState.CLOSED, ana.state.value, "nothing was made anew")
        ana.eraseWithoutPasscode()
        while (ana.state.value != ClientState.WIPED) ana.checkIn()
        assertEquals("Wiped", rig.server.status("ana"))
    }

    @Test
    fun `two clients never share a folder`() = onRig { rig ->
        val keys = JvmKeys()
        val first = rig.enrolled("ana", keys)
        assertFailsWith<RoundsmanException.InUse> { rig.phone("ana", keys) }
        first.close()
        val second = rig.phone("ana", keys)
        second.unlock(passcode())
        assertEquals(5u, second.customers.count())
    }
}
