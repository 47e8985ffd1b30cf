package dev.roundsman

import java.time.Duration
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.measureTimedValue
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.first

/** Phones that hear from their server: on the channel, from the scheduler, and by push. */
class PokeTest {
    @Test
    fun `what one phone syncs is on the other that listens`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val bo = rig.enrolled("bo")
        val (ended, heard) = listening(ana)
        heard.await<Heard.Synced>()

        val visit = bo.visit()
        bo.sync()
        while (ana.visits.get(visit.id) == null) heard.await<Heard.Synced>()
        ended.cancelAndJoin()
    }

    @Test
    fun `a lock and a wipe reach a phone that listens, and end what they end`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val (ended, heard) = listening(ana)
        heard.await<Heard.Connected>()
        rig.server.lock("ana")
        assertTrue(heard.await<Heard.Device>().events.any { it == DeviceEvent.Locked || it == DeviceEvent.SoftLocked })
        assertEquals(ClientState.LOCKED, ana.state.first { it != ClientState.OPEN })
        rig.server.wipe("ana")
        assertEquals(Ended.WIPED, ended.await())
        assertEquals(ClientState.WIPED, ana.state.value)
    }

    @Test
    fun `a listening that was cancelled is over, and another may begin at once`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        repeat(5) {
            val (ended, heard) = listening(ana)
            heard.await<Heard.Connected>()
            ended.cancelAndJoin()
        }
        val (ended, heard) = listening(ana)
        heard.await<Heard.Connected>()
        assertEquals(Ended.ALREADY, ana.listen())
        ended.cancelAndJoin()
        val stopped = Listening().apply { stop() }
        assertEquals(Ended.STOPPED, ana.listen(stopped))
    }

    @Test
    fun `a screen that throws does not end the listening`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val heard = Channel<Heard>(Channel.UNLIMITED)
        val ended = async {
            ana.listen {
                heard.trySend(it)
                error("a planted defect")
            }
        }
        heard.await<Heard.Synced>()
        ended.cancelAndJoin()
    }

    @Test
    fun `the scheduler's time is kept though the server says nothing`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val bo = rig.enrolled("bo")
        val visit = bo.visit()
        bo.sync()
        rig.server.whileItHangs {
            val (woken, took) = measureTimedValue { ana.backgroundSync(Duration.ofSeconds(2)) }
            assertFalse(woken.done)
            assertNull(woken.report)
            assertTrue(woken.next >= Duration.ofMinutes(1))
            assertTrue(took.inWholeSeconds in 1..9, "$took")
        }
        // Nobody has so much time; that is no reason to fail.
        val woken = ana.backgroundSync(Duration.ofSeconds(Long.MAX_VALUE))
        assertTrue(woken.done)
        assertNotNull(woken.report)
        assertEquals(Duration.ofMinutes(15), woken.next)
        assertEquals(visit.id, ana.visits.get(visit.id)?.id)
    }

    @Test
    fun `a push message is done, and any other is not believed`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val bo = rig.enrolled("bo")
        val visit = bo.visit()
        bo.sync()
        assertNull(ana.handlePush("""{"aps":{"alert":"hello"}}""".toByteArray()))
        assertNull(ana.visits.get(visit.id))
        assertNotNull(ana.handlePush("""{"poke":"sync"}""".toByteArray())?.report)
        assertNotNull(ana.visits.get(visit.id))

        ana.lock()
        rig.server.lock("ana")
        val woken = assertNotNull(ana.handlePush("""{"poke":"check_in"}""".toByteArray()))
        assertTrue(woken.done)
        assertTrue(DeviceEvent.Locked in woken.events)
        assertEquals(ClientState.LOCKED, ana.state.value)
    }

    /** A phone that listens, and what it hears. */
    private fun CoroutineScope.listening(phone: Roundsman): Pair<Deferred<Ended>, Channel<Heard>> {
        val heard = Channel<Heard>(Channel.UNLIMITED)
        return async { phone.listen { heard.trySend(it) } } to heard
    }

    /** Waits until this is heard. */
    private suspend inline fun <reified T : Heard> Channel<Heard>.await(): T {
        while (true) (receive() as? T)?.let { return it }
    }
}
