package dev.roundsman

import java.nio.file.Files
import java.nio.file.Path
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/** Every phone's passcode. */
const val PASSCODE = "copper Kayak 27"

fun passcode(text: String = PASSCODE): Passcode = text.toCharArray().toPasscode()

/** A server and the folders of its phones, gone after the test. */
class Rig : AutoCloseable {
    val server = TestServer()
    private val folder: Path = Files.createTempDirectory("roundsman")
    private val phones = mutableListOf<Roundsman>()

    /** The phone of this name, with the keys given. A second call opens the same vault again. */
    suspend fun phone(
        name: String,
        keys: PlatformKeys,
        clock: HostClock? = null,
        attachments: AttachmentOptions? = null,
    ): Roundsman = Roundsman.open(folder(name), keys, name, "jvm", clock, attachments).also { phones += it }

    /** Where the phone of this name keeps its vault. */
    fun folder(name: String): Path = folder.resolve(name)

    /** A phone that is enrolled and synced. */
    suspend fun enrolled(
        name: String,
        keys: PlatformKeys = JvmKeys(),
        clock: HostClock? = null,
        attachments: AttachmentOptions? = null,
    ): Roundsman {
        val phone = phone(name, keys, clock, attachments)
        phone.enrol(server.ticket(), passcode())
        phone.sync()
        return phone
    }

    override fun close() {
        phones.forEach(Roundsman::close)
        server.close()
        folder.toFile().deleteRecursively()
    }
}

/** Starts a visit at the first customer: work that is not sent yet. */
suspend fun Roundsman.visit(): Visit = visits.start(customers.list(limit = 1u).single().id)

/** Runs a test against a rig; whatever hangs fails. */
fun onRig(test: suspend CoroutineScope.(Rig) -> Unit) = runBlocking {
    Rig().use { withTimeout(90.seconds) { test(it) } }
}
