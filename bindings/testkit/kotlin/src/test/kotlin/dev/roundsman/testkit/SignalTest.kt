package dev.roundsman.testkit

import dev.roundsman.Roundsman
import dev.roundsman.RoundsmanException
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin

/** An app's screens on bad networks. */
class SignalTest {
    @Test
    fun `a visit made without a signal arrives once, though its answer was lost`() = inOffice { office ->
        val (phone, network) = office.phone("ana's phone")
        network.offline(true)
        val visit = phone.visits.start(phone.customers.search("ocean", 5u).single().id)
        assertFailsWith<RoundsmanException.Offline> { phone.sync() }
        assertEquals(emptyList(), office.server.visits())

        network.offline(false)
        network.next(Fate.LoseAnswer)
        assertFailsWith<RoundsmanException.Offline> { phone.sync() }
        assertEquals(listOf(visit.id), office.server.visits().map { it.id })
        phone.sync()
        assertEquals("checked_in", office.server.visits().single().fields["state"])
        assertEquals(0u, phone.outbox.count())
    }

    @Test
    fun `an answer that was cut loses nothing, wherever it was cut`() = inOffice { office ->
        val (phone, network) = office.phone("ana's phone")
        val rows = (1..200).joinToString("\n") { "C$it,Store $it,NJ" }
        assertEquals(200u, office.server.importCustomers("code,name,territory\n$rows\n").created)
        for (bytes in listOf(0u, 1u, 100u, 1_000u)) {
            network.next(Fate.CutAnswer(bytes))
            assertFails(phone)
        }
        network.next(Fate.CorruptAnswer(50u))
        assertFails(phone)
        phone.sync()
        assertEquals(201u, phone.customers.count())
    }

    @Test
    fun `in bad weather everything arrives in the end, once`() = inOffice { office ->
        val (phone, network) = office.phone("ana's phone")
        network.weather(Weather(loseRequest = 15u, loseAnswer = 15u, double = 15u, late = 15u, cut = 15u), seed = 7u)
        val before = network.requests()
        val customer = phone.customers.search("ocean", 5u).single()
        for (name in listOf("Ocean Deli II", "Ocean Deli III", "Ocean Deli IV")) {
            val seen = phone.customers.get(customer.id)!!
            phone.customers.save(seen, seen.copy(name = name))
            runCatching { phone.sync() }
        }
        while (phone.outbox.count() > 0u) runCatching { phone.sync() }
        assertTrue(network.requests() > before + 3u)
        assertEquals("Ocean Deli IV", office.server.customers().single().fields["name"])
    }

    @Test
    fun `a sync that gets no answer is cancelled with its screen`() = inOffice { office ->
        val (phone, network) = office.phone("ana's phone")
        network.next(Fate.HangBefore)
        val sync = async { phone.sync() }
        network.hangs()
        sync.cancelAndJoin()
        val before = network.requests()
        phone.sync()
        assertTrue(network.requests() > before)
    }

    @Test
    fun `one phone is cut off and the other is not`() = inOffice { office ->
        val (ana, tunnel) = office.phone("ana's phone")
        val (bo, _) = office.phone("bo's phone")
        tunnel.offline(true)
        val visit = bo.visits.start(bo.customers.search("ocean", 5u).single().id)
        bo.sync()
        assertFailsWith<RoundsmanException.Offline> { ana.sync() }
        tunnel.heal()
        ana.sync()
        assertEquals(visit.id, ana.visits.get(visit.id)?.id)
    }

    private suspend fun assertFails(phone: Roundsman) {
        assertFailsWith<RoundsmanException> { phone.sync() }
    }
}
