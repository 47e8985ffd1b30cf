package dev.roundsman

import java.nio.file.Files
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.seconds
import kotlin.time.measureTime
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout

class CallbackTest {
    @Test
    fun `changes go on over a lock and say what to read again`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val changes = Channel<Change>(Channel.UNLIMITED)
        val collecting = launch(Dispatchers.Default) { ana.changes.collect(changes::send) }
        // The collector may not listen yet: save until it does.
        suspend fun change(): Change.Records {
            var customer = ana.customers.list(limit = 1u).single()
            while (changes.tryReceive().isSuccess) Unit
            while (true) {
                customer = ana.customers.save(customer, customer.copy(notes = "${customer.notes.orEmpty()}."))
                val change = changes.tryReceive().getOrNull()
                if (change is Change.Records) return change.also { assertEquals(listOf(customer.id), it.ids) }
            }
        }
        assertEquals("customer", change().entity)
        ana.lock()
        ana.unlock(passcode())
        assertEquals("customer", change().entity)
        collecting.cancelAndJoin()
    }

    @Test
    fun `an observer may throw and may use the client`() = onRig { rig ->
        Files.createTempDirectory("roundsman").let { folder ->
            val keys = SoftwareKeys(folder.resolve("keys").toString())
            val client = RoundsmanClient.open(Options(folder.resolve("vault").toString(), "ana", "jvm"), keys)
            client.enrol(rig.server.ticket(), passcode())
            client.sync()
            val customers = client.customers()
            val customer = customers.list(limit = 1u).single()
            val states = Channel<ClientState>(Channel.UNLIMITED)
            val throwing = client.observe(object : Observer {
                override fun changed(change: Change) = error("a bug of the screen")
            })
            val using = client.observe(object : Observer {
                override fun changed(change: Change) {
                    states.trySend(client.state())
                }
            })
            assertEquals("seen", customers.save(customer, customer.copy(notes = "seen")).notes)
            assertEquals(ClientState.OPEN, states.receive())
            listOf(throwing, using, customers, client).forEach(AutoCloseable::close)
            folder.toFile().deleteRecursively()
        }
    }

    @Test
    fun `thousands of callbacks from many threads lose nothing and leave nothing behind`() = onRig { rig ->
        val keys = JvmKeys()
        val ana = rig.enrolled("ana", keys)
        val heard = AtomicInteger()
        val customers = ana.customers.list(limit = 4u)
        val collecting = launch(Dispatchers.Default) { ana.changes.collect { if (it is Change.Records) heard.incrementAndGet() } }
        while (heard.get() == 0) ana.customers.save(customers[0], customers[0].copy(city = "A${System.nanoTime()}"))
        val before = heard.get()
        val rounds = 250
        customers.map { customer ->
            async(Dispatchers.Default) {
                repeat(rounds) { ana.customers.save(customer, customer.copy(city = "Town ${customer.code} $it")) }
            }
        }.awaitAll()
        withTimeout(20.seconds) { while (heard.get() < before + rounds * customers.size) kotlinx.coroutines.yield() }
        assertEquals(customers.map { "Town ${it.code} ${rounds - 1}" }, customers.map { ana.customers.get(it.id)?.city })
        collecting.cancelAndJoin()

        // What is called from the main thread.
        ana.run { lock(); touch(); policy; concerns; lease(); profile }
        ana.unlock(passcode())

        // Many short calls that go through the Kotlin keystore, with the garbage collector at work.
        val calls = keys.calls.get()
        repeat(100) {
            ana.checkIn()
            if (it % 25 == 0) System.gc()
        }
        assertTrue(keys.calls.get() - calls >= 100)
        assertTrue(Thread.currentThread() !in keys.threads, "the caller's thread never waits for keys")
        assertEquals(0u, ana.sync().rejected)
    }

    @Test
    fun `a sync that hangs is cancelled at once and the next one works`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val store = ana.customers.list(limit = 1u).single()
        ana.visits.start(store.id)
        rig.server.whileItHangs {
            val sending = Channel<SyncStep>(Channel.UNLIMITED)
            val sync = launch(Dispatchers.Default) { ana.sync { sending.trySend(it) } }
            assertTrue(sending.receive() is SyncStep.Sending)
            assertTrue(measureTime { sync.cancelAndJoin() } < 2.seconds)
        }
        assertTrue(ana.sync().sent > 0u)
    }

    @Test
    fun `a cancel handle ends a call as well`() = onRig { rig ->
        val folder = Files.createTempDirectory("roundsman")
        val keys = SoftwareKeys(folder.resolve("keys").toString())
        RoundsmanClient.open(Options(folder.resolve("vault").toString(), "ana", "jvm"), keys).use { client ->
            client.enrol(rig.server.ticket(), passcode())
            CancelHandle().use { cancel ->
                cancel.cancel()
                assertFailsWith<RoundsmanException.Cancelled> { client.sync(cancel = cancel) }
            }
            assertTrue(client.sync().received > 0u)
        }
        folder.toFile().deleteRecursively()
    }
}
