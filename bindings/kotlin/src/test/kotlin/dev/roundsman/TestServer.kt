package dev.roundsman

import java.util.concurrent.TimeUnit
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** A real server in a process of its own, with five customers and one rep. */
class TestServer : AutoCloseable {
    private val process = ProcessBuilder(System.getProperty("roundsman.testserver"))
        .redirectError(ProcessBuilder.Redirect.INHERIT)
        .start()
    private val requests = process.outputWriter()
    private val answers = process.inputReader()

    /** Where it listens. */
    val url: String = answer("url")

    /** A fresh enrolment code for the rep. */
    fun ticket(): String = ask("ticket", "ticket")

    /** From now on digits are compared before a device is let in. */
    fun compare() = ask("compare", "done")

    /** What the console shows of the device that waits. */
    fun digits(): String = ask("digits", "digits")

    fun confirm() = ask("confirm", "done")

    fun lock(device: String) = ask("lock $device", "done")

    fun unlock(device: String) = ask("unlock $device", "done")

    fun wipe(device: String) = ask("wipe $device", "done")

    /** How the device stands for the administrator. */
    fun status(device: String): String = ask("status $device", "status")

    /** Opens what a wiped device has handed over, takes it into the records, and says how many changes it was. */
    fun rescued(device: String): Int = ask("rescued $device", "rescued").toInt()

    /** What follows from a rooted phone: `allow`, `warn` or `lock`. */
    fun rooted(verdict: String) = ask("rooted $verdict", "done")

    /** Lets devices stay away so long. */
    fun lease(days: Int) = ask("lease $days", "done")

    fun biometrics(allowed: Boolean) = ask("biometrics ${if (allowed) "on" else "off"}", "done")

    /** A server that takes connections and never answers, for as long as [block] runs. */
    suspend fun whileItHangs(block: suspend () -> Unit) {
        signal("STOP")
        try {
            block()
        } finally {
            signal("CONT")
        }
    }

    override fun close() {
        requests.close()
        if (!process.waitFor(10, TimeUnit.SECONDS)) process.destroyForcibly()
    }

    private fun signal(name: String) {
        check(ProcessBuilder("kill", "-$name", process.pid().toString()).start().waitFor() == 0)
    }

    @Synchronized
    private fun ask(line: String, key: String): String {
        requests.write(line)
        requests.newLine()
        requests.flush()
        return answer(key)
    }

    private fun answer(key: String): String {
        val line = checkNotNull(answers.readLine()) { "the test server ended" }
        val answer = Json.parseToJsonElement(line).jsonObject
        return checkNotNull(answer[key]) { line }.jsonPrimitive.content
    }
}
