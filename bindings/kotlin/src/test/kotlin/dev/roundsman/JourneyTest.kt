package dev.roundsman

import java.time.LocalDate
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

class JourneyTest {
    @Test
    fun `a visit made offline is seen on a second phone and a wiped phone reads nothing`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        assertEquals(ClientState.OPEN, ana.state.value)
        assertEquals("Garden State Snacks", ana.profile?.orgName)
        assertEquals(rig.server.url, ana.profile?.url)
        assertEquals(5u, ana.customers.count())

        val store = ana.customers.search("lumiere cafe", 5u).single()
        assertEquals("Café Lumière", store.name)
        assertEquals("沈記 Noodles", ana.customers.search("沈", 5u).single().name)
        val visit = ana.visits.start(store.id, Position(40.3, -73.98, accuracyM = 8.0))
        assertEquals(Verdict.VERIFIED, visit.verdict)
        ana.visits.write(visit.id, notes = "shelf is empty", nextStep = "bring samples")
        ana.visits.checkOut(visit.id, Outcome.ORDER)
        assertTrue(ana.outbox.count() > 0u)
        assertNull(ana.outbox.unsent().first().rejected)

        val report = ana.sync()
        assertTrue(report.sent > 0u)
        assertEquals(0u, ana.outbox.count())

        val bo = rig.enrolled("bo")
        val seen = assertNotNull(bo.visits.get(visit.id))
        assertEquals(VisitState.CHECKED_OUT, seen.state)
        assertEquals("shelf is empty", seen.notes)
        assertEquals(visit.startedAt, seen.startedAt)

        rig.server.wipe("ana")
        assertTrue(DeviceEvent.Wiped in ana.sync().events)
        while (ana.state.value != ClientState.WIPED) ana.checkIn()
        assertFailsWith<RoundsmanException.Wiped> { ana.customers.count() }
        assertFailsWith<RoundsmanException> { ana.unlock(passcode()) }
        assertNull(ana.profile)
        assertEquals("Wiped", rig.server.status("ana"))
        assertEquals(ClientState.OPEN, bo.state.value)
    }

    @Test
    fun `a phone locked by the administrator opens again only when he lets it and loses nothing`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        val unsent = ana.outbox.unsent()
        ana.lock()
        rig.server.lock("ana")
        ana.checkIn()
        assertEquals(ClientState.LOCKED, ana.state.value)
        assertFailsWith<RoundsmanException.LockedByAdministrator> { ana.unlock(passcode()) }

        rig.server.unlock("ana")
        assertTrue(DeviceEvent.Unlocked in ana.checkIn())
        assertEquals(ClientState.CLOSED, ana.state.value)
        ana.unlock(passcode())
        assertEquals(visit.id, ana.visits.inProgress()?.id)
        assertEquals(unsent, ana.outbox.unsent())
        assertEquals(unsent.size.toULong(), ana.sync().sent)
    }

    @Test
    fun `what a wiped phone had not sent is rescued`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        ana.visits.write(visit.id, notes = "shelf is empty")
        val unsent = ana.outbox.count()
        ana.lock()
        rig.server.wipe("ana")
        while (ana.state.value != ClientState.WIPED) ana.checkIn()
        assertEquals(unsent.toInt(), rig.server.rescued("ana"))
        val bo = rig.enrolled("bo")
        assertEquals("shelf is empty", bo.visits.get(visit.id)?.notes)
    }

    @Test
    fun `a round is planned made and refused in the words of the rule`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val (first, second) = ana.customers.list(limit = 2u)
        val day = LocalDate.of(2026, 9, 21)
        val planned = ana.visits.plan(first.id, day, stop = 2)
        ana.visits.plan(second.id, day, stop = 1)
        assertEquals(listOf(second.id, first.id), ana.visits.round(day).map { it.customer.id })

        val tooEarly = assertFailsWith<RoundsmanException.Rule> { ana.visits.checkOut(planned.id, Outcome.ORDER) }
        assertEquals(RuleCode.VISIT_STATE, tooEarly.code)
        ana.visits.checkIn(planned.id)
        val busy = assertFailsWith<RoundsmanException.VisitInProgress> { ana.visits.start(second.id) }
        assertEquals(planned.id, busy.visit)
        val noReason = assertFailsWith<RoundsmanException.Rule> { ana.visits.checkOut(planned.id, Outcome.LEFT) }
        assertEquals(RuleCode.REASON_MISSING to "reason", noReason.code to noReason.`field`)
        ana.visits.checkOut(planned.id, Outcome.LEFT, reason = "power cut")

        val saved = ana.customers.save(first, first.copy(notes = "the back door"))
        assertEquals("the back door", saved.notes)
        assertEquals(saved, ana.customers.get(first.id))
        val missing = first.copy(id = java.util.UUID.randomUUID())
        assertFailsWith<RoundsmanException.NotFound> { ana.customers.save(missing, missing) }
    }

    @Test
    fun `a value that lost is on every phone until somebody settles it for all`() = onRig { rig ->
        val (ana, bo) = listOf(rig.enrolled("ana"), rig.enrolled("bo"))
        val store = ana.customers.search("lumiere cafe", 5u).single()
        suspend fun Roundsman.brand(brand: String) {
            val seen = assertNotNull(customers.get(store.id))
            customers.save(seen, seen.copy(brand = brand))
        }
        ana.brand("Ana's")
        bo.brand("Bo's")
        ana.sync()
        assertEquals(1u, bo.sync().conflicts)
        ana.sync()
        for (phone in listOf(ana, bo)) {
            val conflict = phone.conflicts.list().single()
            assertEquals(store.id, conflict.record)
            assertEquals("brand", conflict.field)
            assertEquals(FieldValue.Text("Bo's"), conflict.now)
            assertEquals(FieldValue.Text("Ana's"), conflict.lost)
        }
        val conflict = ana.conflicts.list().single()
        ana.conflicts.takeLost(conflict.id)
        assertFailsWith<RoundsmanException.NotFound> { ana.conflicts.keep(conflict.id) }
        ana.sync()
        bo.sync()
        assertEquals(emptyList(), bo.conflicts.list())
        assertEquals("Ana's", bo.customers.get(store.id)?.brand)
    }

    @Test
    fun `a removal that is not the reps to make comes back with its reason`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val store = ana.customers.list(limit = 1u).single()
        ana.customers.remove(store.id)
        assertEquals(4u, ana.customers.count())
        assertEquals(1u, ana.sync().rejected)
        assertEquals(store, ana.customers.get(store.id))
        val refused = ana.outbox.unsent().single()
        assertEquals(RuleCode.NOT_ALLOWED, refused.rejected?.code)
        assertFailsWith<RoundsmanException.NotFound> { ana.outbox.restore(refused.seq) }
        ana.outbox.discard(refused.seq)
        assertEquals(0u, ana.outbox.count())
    }
}
