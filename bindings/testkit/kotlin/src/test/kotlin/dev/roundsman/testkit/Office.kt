package dev.roundsman.testkit

import dev.roundsman.Roundsman
import dev.roundsman.SoftwareKeys
import dev.roundsman.toPasscode
import java.nio.file.Files
import java.nio.file.Path
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

fun passcode() = "copper Kayak 27".toCharArray().toPasscode()

/** What an app's tests would keep beside them: a server with a rep and a customer, and phones. */
class Office : AutoCloseable {
    val server = KitServer.start()
    private val rep = server.addRep("ana", listOf("NJ"))
    private val folder: Path = Files.createTempDirectory("app")
    private val open = mutableListOf<AutoCloseable>()

    init {
        server.importCustomers("code,name,territory\nS1,Ocean Deli,NJ\n")
    }

    /** A phone that is enrolled and synced, and its network. */
    suspend fun phone(name: String): Pair<Roundsman, KitNetwork> {
        val network = server.network().also { open += it }
        val place = folder.resolve(name)
        val keys = SoftwareKeys(place.resolve("keys").toString())
        val phone = Roundsman.open(place.resolve("vault"), keys, name, "jvm", KitClock(server)).also { open += it }
        phone.enrol(network.ticket(rep), passcode())
        phone.sync()
        return phone to network
    }

    override fun close() {
        open.asReversed().forEach(AutoCloseable::close)
        server.close()
        folder.toFile().deleteRecursively()
    }
}

/** Runs a test in an office; whatever hangs fails. */
fun inOffice(test: suspend CoroutineScope.(Office) -> Unit) = runBlocking {
    Office().use { withTimeout(90.seconds) { test(it) } }
}
