package dev.roundsman

import java.nio.file.Path
import java.util.UUID
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/**
 * Several organisations on one phone, each with a vault, keys and a session of its own.
 *
 * Their folders are let go when this is closed, not when one [Roundsman] is.
 */
class RoundsmanProfiles private constructor(private val profiles: Profiles) : AutoCloseable {
    private val gate = Mutex()
    private val clients = mutableMapOf<UUID, Roundsman>()

    /** The profiles that are there, oldest first. */
    suspend fun ids(): List<UUID> = profiles.ids()

    /** Makes a new profile, to be [open]ed and enrolled. */
    suspend fun add(): UUID = gate.withLock {
        val (id, client) = profiles.add()
        clients[id] = Roundsman(client)
        id
    }

    /** The client of a profile: whoever asks again gets the same one. */
    suspend fun open(id: UUID): Roundsman = gate.withLock {
        clients[id]?.takeUnless { it.isClosed } ?: Roundsman(profiles.open(id)).also { clients[id] = it }
    }

    /**
     * Removes what is left of a profile that was wiped, or was never enrolled, and closes its client.
     *
     * @throws RoundsmanException.ProfileHoldsVault if only a wipe may remove it
     */
    suspend fun remove(id: UUID) = gate.withLock {
        profiles.remove(id)
        clients.remove(id)?.close()
        Unit
    }

    /** Closes every vault and lets go of the folders. */
    override fun close() {
        clients.values.forEach(Roundsman::close)
        profiles.close()
    }

    companion object {
        /** The profiles in [folder]. [host] gives each its keys, and keeps its folder out of backups. */
        suspend fun at(
            folder: Path,
            host: ProfileHost,
            deviceName: String,
            platform: String,
            clock: HostClock? = null,
            attachments: AttachmentOptions? = null,
        ): RoundsmanProfiles =
            RoundsmanProfiles(Profiles.at(Options(folder.toString(), deviceName, platform, attachments), host, clock))
    }
}
