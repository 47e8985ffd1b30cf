package dev.roundsman.testkit

import dev.roundsman.ClientState
import dev.roundsman.ClosedReason
import dev.roundsman.DeviceEvent
import dev.roundsman.Ended
import dev.roundsman.Heard
import dev.roundsman.RoundsmanException
import java.time.Duration
import java.time.LocalDate
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.async
import kotlinx.coroutines.channels.Channel

/** What the office does, as an app's screens meet it. */
class OfficeTest {
    @Test
    fun `what the office edits, plans and removes is on the phone after a sync`() = inOffice { office ->
        val (phone, _) = office.phone("ana's phone")
        assertEquals(1u, office.server.importCustomers("code,name,territory\nS1,Ocean Deli & Sons,NJ\n").updated)
        val customer = office.server.customers().single()
        val day = LocalDate.of(2030, 5, 4)
        val visits = office.server.planRound(phone.profile!!.user, day, listOf(customer.id))
        phone.sync()
        val stop = phone.visits.round(day).single()
        assertEquals(visits, listOf(stop.visit.id))
        assertEquals("Ocean Deli & Sons", stop.customer.name)
        office.server.removeCustomer(customer.id)
        phone.sync()
        assertNull(phone.customers.get(customer.id))
    }

    @Test
    fun `a lock and a wipe reach the phone`() = inOffice { office ->
        val (phone, _) = office.phone("ana's phone")
        assertEquals(DeviceStatus.ACTIVE, office.server.status("ana's phone"))
        office.server.lock("ana's phone")
        assertTrue(DeviceEvent.Locked in phone.checkIn())
        phone.checkIn()
        assertEquals(DeviceStatus.LOCKED, office.server.status("ana's phone"))
        office.server.unlock("ana's phone")
        phone.checkIn()
        phone.unlock(passcode())
        office.server.wipe("ana's phone")
        while (phone.state.value != ClientState.WIPED) phone.checkIn()
        assertEquals(DeviceStatus.WIPED, office.server.status("ana's phone"))
        assertFailsWith<KitException.NoSuchDevice> { office.server.lock("nobody's phone") }
    }

    @Test
    fun `a phone that listens hears of an edit, of being cut off, and of a wipe`() = inOffice { office ->
        val (phone, network) = office.phone("ana's phone")
        val heard = Channel<Heard>(Channel.UNLIMITED)
        val listening = async { phone.listen { heard.trySend(it) } }
        while (heard.receive() !is Heard.Connected) Unit
        office.server.importCustomers("code,name,territory\nS2,Pier Books,NJ\n")
        while (phone.customers.count() < 2u) heard.receive()
        network.offline(true)
        while (heard.receive() !is Heard.Offline) Unit
        network.offline(false)
        while (heard.receive() !is Heard.Connected) Unit
        office.server.wipe("ana's phone")
        assertEquals(Ended.WIPED, listening.await())
    }

    @Test
    fun `a phone stays away as long as the test says`() = inOffice { office ->
        val (phone, _) = office.phone("ana's phone")
        office.server.advance(Duration.ofDays(8))
        assertEquals(ClosedReason.LEASE, phone.tick())
        assertFailsWith<RoundsmanException.LeaseEnded> { phone.unlock(passcode()) }
        phone.checkIn()
        phone.unlock(passcode())
        assertEquals(ClientState.OPEN, phone.state.value)
    }
}
