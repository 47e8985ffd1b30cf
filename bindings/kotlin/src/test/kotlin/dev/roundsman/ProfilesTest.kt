package dev.roundsman

import java.nio.file.Files
import java.nio.file.Path
import java.util.UUID
import java.util.concurrent.ConcurrentHashMap
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertSame
import kotlin.test.assertTrue

class ProfilesTest {
    /** An app that gives each profile a keystore of its own, and does as it is told with backups. */
    private class App : ProfileHost {
        val keystores = ConcurrentHashMap<UUID, JvmKeys>()
        val keptOut: MutableSet<String> = ConcurrentHashMap.newKeySet()

        @Volatile
        var failure: Exception? = null

        @Volatile
        var locked = false

        override fun keys(profile: UUID): PlatformKeys =
            if (locked) throw KeyException.LockedOut() else keystores.computeIfAbsent(profile) { JvmKeys() }

        override fun keepOutOfBackups(folder: String) {
            failure?.let { throw it }
            keptOut += folder
        }
    }

    private suspend fun onProfiles(test: suspend (RoundsmanProfiles, App) -> Unit) {
        val folder: Path = Files.createTempDirectory("roundsman")
        val app = App()
        RoundsmanProfiles.at(folder.resolve("profiles"), app, "ana", "jvm").use { test(it, app) }
        folder.toFile().deleteRecursively()
    }

    @Test
    fun `two organisations live side by side and the wipe of one leaves the other alone`() = onRig { rig ->
        TestServer().use { other ->
            onProfiles { profiles, app ->
                val (here, there) = listOf(profiles.add(), profiles.add())
                assertEquals(listOf(here, there), profiles.ids())
                assertEquals(2, app.keptOut.size)
                val (first, second) = listOf(profiles.open(here), profiles.open(there))
                assertSame(first, profiles.open(here))
                first.enrol(rig.server.ticket(), passcode())
                second.enrol(other.ticket(), passcode("Red kayak 70"))
                listOf(first, second).forEach { it.sync() }
                assertEquals(listOf(rig.server.url, other.url), listOf(first, second).map { it.profile?.url })
                second.visit()
                assertFailsWith<RoundsmanException.ProfileHoldsVault> { profiles.remove(here) }
                assertEquals(5u, first.customers.count(), "a removal that is refused closes nothing")

                rig.server.wipe("ana")
                while (first.state.value != ClientState.WIPED) first.checkIn()
                assertEquals("Active", other.status("ana"))
                profiles.remove(here)
                assertEquals(listOf(there), profiles.ids())
                assertFailsWith<RoundsmanException.NotFound> { profiles.open(here) }
                second.lock()
                second.unlock(passcode("Red kayak 70"))
                assertTrue(second.sync().sent > 0u)
            }
        }
    }

    @Test
    fun `a profile that is closed can be opened again`() = onRig { rig ->
        onProfiles { profiles, _ ->
            val id = profiles.add()
            profiles.open(id).run {
                enrol(rig.server.ticket(), passcode())
                sync()
                close()
            }
            val again = profiles.open(id)
            assertEquals(ClientState.CLOSED, again.state.value)
            again.unlock(passcode())
            assertEquals(5u, again.customers.count())
        }
    }

    @Test
    fun `a profile whose keystore is locked opens once it is not`() = onRig { rig ->
        onProfiles { profiles, app ->
            app.locked = true
            val failed = assertFailsWith<RoundsmanException.Keystore> { profiles.add() }
            assertTrue(failed.reason is KeyException.LockedOut)
            app.locked = false
            val ana = profiles.open(profiles.add())
            ana.enrol(rig.server.ticket(), passcode())
            assertEquals(ClientState.OPEN, ana.state.value)
        }
    }

    @Test
    fun `a folder that would be backed up is not used`() = onRig { _ ->
        onProfiles { profiles, app ->
            app.failure = IllegalStateException("no")
            assertFailsWith<RoundsmanException.Storage> { profiles.add() }
            app.failure = null
            assertEquals(ClientState.NEW, profiles.open(profiles.add()).state.value)
        }
    }
}
