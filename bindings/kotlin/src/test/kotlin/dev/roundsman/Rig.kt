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
    suspend fun phone(name: String, keys: PlatformKeys): Roundsman =
        Roundsman.open(folder.resolve(name), keys, deviceName = name, platform = "jvm").also { phones += it }

    /** A phone that is enrolled and synced. */
    suspend fun enrolled(name: String, keys: PlatformKeys = JvmKeys()): Roundsman {
        val phone = phone(name, keys)
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

/** Runs a test against a rig; whatever hangs fails. */
fun onRig(test: suspend CoroutineScope.(Rig) -> Unit) = runBlocking {
    Rig().use { withTimeout(90.seconds) { test(it) } }
}
