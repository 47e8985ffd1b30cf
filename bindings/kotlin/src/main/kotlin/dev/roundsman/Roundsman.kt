package dev.roundsman

import java.nio.file.Path
import java.time.Duration
import java.util.concurrent.atomic.AtomicBoolean
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.emptyFlow
import kotlinx.coroutines.flow.flatMapLatest
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * The client as a Kotlin app uses it: one for each folder, for as long as the process lives.
 *
 * Every call may be made from any thread, the main thread included: what takes time suspends. Failures are
 * [RoundsmanException]s, and each says what to do. A cancelled coroutine stops a conversation with the server at
 * once; a write to the store that had begun is finished.
 */
class Roundsman internal constructor(private val client: RoundsmanClient) : AutoCloseable {
    private val states = MutableStateFlow(client.state())

    /** Which opening of the vault this is; null while it is closed. */
    private val opening = MutableStateFlow<Int?>(null)
    private var openings = 0
    private val closed = AtomicBoolean()

    internal val isClosed: Boolean get() = closed.get()

    /** What the client is ready for: which screen to show. */
    val state: StateFlow<ClientState> = states.asStateFlow()

    /** Who is enrolled and where; null before enrolment and after a wipe. */
    val profile: Profile? get() = client.profile()

    /** The customers. Calls fail with [RoundsmanException.Locked] while the vault is closed. */
    val customers: Customers = client.customers()

    /** The visits. Calls fail with [RoundsmanException.Locked] while the vault is closed. */
    val visits: Visits = client.visits()

    /** What was not sent, or was refused. Calls fail with [RoundsmanException.Locked] while the vault is closed. */
    val outbox: Outbox = client.outbox()

    /** Values that lost in a collision of two edits. Calls fail with [RoundsmanException.Locked] while the vault is closed. */
    val conflicts: Conflicts = client.conflicts()

    /**
     * Photos, signatures and files of visits and customers. Calls fail with [RoundsmanException.Locked] while the vault is
     * closed.
     */
    val attachments: Attachments = client.attachments()

    /**
     * What changes from now on, commit by commit: silent while the vault is closed, and it goes on when it is opened
     * again. A slow collector misses nothing.
     */
    @OptIn(ExperimentalCoroutinesApi::class)
    val changes: Flow<Change> = opening.flatMapLatest { if (it == null) emptyFlow() else ofThisOpening() }

    /**
     * Joins an organisation with the text of its enrolment code, and sets the passcode. Leaves the client open and
     * empty: [sync] fetches the data. Empties [passcode].
     */
    suspend fun enrol(ticket: String, passcode: Passcode) = following { client.enrol(ticket, passcode) }

    /**
     * Begins to join an organisation that compares digits: show [PendingEnrolment.digits], ask
     * [PendingEnrolment.isConfirmed] every few seconds, then call [finishEnrolment].
     */
    suspend fun beginEnrolment(ticket: String): PendingEnrolment = client.beginEnrolment(ticket)

    /** Joins with this passcode once the digits were confirmed; false before. Empties [passcode]. */
    suspend fun finishEnrolment(pending: PendingEnrolment, passcode: Passcode): Boolean =
        following { pending.finish(passcode) }

    /**
     * Takes the organisation's signed keys from a code that the administrator shows, without a network: when the
     * server's keys were replaced and every call fails with [RoundsmanException.WrongPin].
     */
    suspend fun takeRootBundle(text: String): UInt = client.takeRootBundle(text)

    /** Opens the vault; takes about half a second by design. Empties [passcode]. */
    suspend fun unlock(passcode: Passcode) = following { client.unlock(passcode) }

    /**
     * Opens the vault by finger or face; the keystore asks the person. Never counts as an attempt at the passcode.
     * Whenever it fails with [RoundsmanException.Biometrics], the passcode opens.
     */
    suspend fun unlockWithBiometrics() = following { client.unlockWithBiometrics() }

    /** Lets finger or face open the vault, for 72 hours after each passcode. The keystore asks once. Empties [passcode]. */
    suspend fun enableBiometrics(passcode: Passcode) = following { client.enableBiometrics(passcode) }

    /** Takes biometrics away. Needs no passcode. */
    suspend fun disableBiometrics() = client.disableBiometrics()

    /** Whether finger or face may open the vault. The passcode may have to be typed all the same. */
    suspend fun biometrics(): Boolean = client.biometrics()

    /**
     * Closes the vault: keys leave memory, unsent work stays. Quick enough for the main thread, but not while the
     * platform asks for a finger or face: it waits for the answer.
     */
    fun lock() {
        client.lock()
        follow()
    }

    /** What a new passcode must be like; [PasscodeRules.check] says what is wrong with it while it is typed. */
    suspend fun passcodeRules(): PasscodeRules = client.passcodeRules()

    /** Whether the passcode is to be changed, now or soon; null while it is young or the vault is closed. */
    suspend fun passcodeDue(): PasscodeDue? = client.passcodeDue()

    /** Changes the passcode, and takes biometrics away. Empties both. */
    suspend fun changePasscode(old: Passcode, new: Passcode) = following { client.changePasscode(old, new) }

    /**
     * Gives the vault a new key, after the old one may have become known. An open vault is closed meanwhile: running
     * calls end with [RoundsmanException.Locked]; [changes] goes on afterwards. Empties [passcode].
     */
    suspend fun rotateVaultKey(passcode: Passcode) = following(anew = true) { client.rotateVaultKey(passcode) }

    /** The organisation's rules. */
    val policy: Policy get() = client.policy()

    /** What about the phone the policy warns of or refuses. */
    val concerns: List<PostureFinding> get() = client.concerns()

    /** How long the device may stay away from its server. */
    fun lease(): LeaseStatus = client.lease()

    /** The person has touched the app: the idle lock starts anew. Call it from `onUserInteraction`. */
    fun touch() = client.touch()

    /**
     * What time brings: closes the vault after the policy's time without a [touch], or when the lease has ended. Call
     * it every minute while the app runs, and when it comes to the foreground. Says why the vault was closed by it.
     */
    suspend fun tick(): ClosedReason? = following { client.tick() }

    /**
     * Takes what the app found out about the phone. Call it after each start, before the passcode is asked for. Says
     * whether the vault was closed because of it.
     */
    suspend fun setPosture(posture: Posture): ClosedReason? = following { client.setPosture(posture) }

    /** Erases the device on its user's wish; go on calling [checkIn] until the state is `WIPED`. Empties [passcode]. */
    suspend fun erase(passcode: Passcode) = following { client.erase(passcode) }

    /** Erases a device that no passcode opens any more. */
    suspend fun eraseWithoutPasscode() = following { client.eraseWithoutPasscode() }

    /** Looks whether every part of the store is of the same state. Call it once a week. */
    suspend fun checkStore() = client.checkStore()

    /**
     * Sends what is unsent and fetches what is new. [onStep] is called from a thread of the library.
     */
    suspend fun sync(onStep: ((SyncStep) -> Unit)? = null): SyncReport = following {
        val progress = onStep?.let {
            object : SyncProgress {
                override fun step(step: SyncStep) = it(step)
            }
        }
        client.sync(progress)
    }

    /**
     * Checks everything on the device and with the server, and mends what it can; what was wrong is in the findings. Reads
     * everything once: for a screen of the app's, or now and then while the phone is charged. [onChecked] is called from a
     * thread of the library with how much of a part is done, of how much.
     */
    suspend fun verify(onChecked: ((CheckedPart, ULong, ULong) -> Unit)? = null): Verified = following {
        val progress = onChecked?.let {
            object : CheckProgress {
                override fun checked(part: CheckedPart, done: ULong, of: ULong) = it(part, done, of)
            }
        }
        client.verify(progress)
    }

    /**
     * Reports to the server and carries out the administrator's commands. Needs no passcode: call it from the
     * background, while locked, and during a wipe.
     */
    suspend fun checkIn(): List<DeviceEvent> = following { client.checkIn() }

    /**
     * Listens to the server for as long as the coroutine runs, and syncs or checks in when it is poked: for the time that
     * the app is in the foreground, in `repeatOnLifecycle(STARTED)`. Returns when the device is wiped, or if another call
     * listens already. When it is cancelled, it has ended when the cancellation is over, so that it may be called anew.
     *
     * @param listening its `tryNow` tries at once: call it when the network is back
     * @param onHeard is called from the thread that listens, and must be quick
     */
    suspend fun listen(listening: Listening = Listening(), onHeard: ((Heard) -> Unit)? = null): Ended = coroutineScope {
        val watcher = object : Watcher {
            override fun heard(heard: Heard) {
                follow()
                onHeard?.invoke(heard)
            }
        }
        val stop = launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                awaitCancellation()
            } finally {
                listening.stop()
            }
        }
        try {
            withContext(NonCancellable) { following { client.listen(listening, watcher) } }
        } finally {
            stop.cancel()
        }
    }

    /**
     * Checks in, and syncs if the vault is open, for `WorkManager`; tries again until [deadline] has passed. Needs no
     * passcode. [Woken.next] says when to come again.
     */
    suspend fun backgroundSync(deadline: Duration): Woken = following { client.backgroundSync(deadline) }

    /**
     * Does what the data of a push message asks for, within 25 seconds; nothing else in it is believed. Null if it is no
     * message of this system.
     */
    suspend fun handlePush(payload: ByteArray): Woken? = following { client.handlePush(payload) }

    /** What the app knows of the network, from a `NetworkCallback`: attachments are not sent over a metered one. */
    fun setNetwork(network: NetworkKind) = client.setNetwork(network)

    /** Closes the vault and lets go of the folder. Any other call fails from now on. */
    override fun close() {
        if (closed.getAndSet(true)) return
        lock()
        listOf(customers, visits, outbox, conflicts, attachments, client).forEach(AutoCloseable::close)
    }

    private fun ofThisOpening(): Flow<Change> = callbackFlow {
        val observer = object : Observer {
            override fun changed(change: Change) {
                trySend(change)
            }
        }
        val subscription = try {
            client.observe(observer)
        } catch (closed: RoundsmanException) {
            // Closed again in the meantime: the next opening comes with its own flow.
            null
        }
        awaitClose {
            subscription?.end()
            subscription?.close()
        }
    }.buffer(Channel.UNLIMITED)

    private inline fun <T> following(anew: Boolean = false, call: () -> T): T = try {
        call()
    } finally {
        follow(anew)
    }

    @Synchronized
    private fun follow(anew: Boolean = false) {
        states.value = client.state()
        val present = if (anew) null else opening.value
        opening.value = if (states.value == ClientState.OPEN) present ?: ++openings else null
    }

    companion object {
        /**
         * Opens the client in [folder], which is its own: nobody else may touch what is inside. Finishes a lock or a
         * wipe that was interrupted before anything else.
         *
         * @param deviceName what the person calls the device; shown to the administrator
         * @param platform `android`, or what the device runs
         * @param clock the time since the phone was started; without it the system's own clock is taken
         * @param attachments how much may be attached, and over which networks it is sent
         */
        suspend fun open(
            folder: Path,
            keys: PlatformKeys,
            deviceName: String,
            platform: String,
            clock: HostClock? = null,
            attachments: AttachmentOptions? = null,
        ): Roundsman {
            val options = Options(folder.toString(), deviceName, platform, attachments)
            return Roundsman(RoundsmanClient.open(options, keys, clock))
        }

        /**
         * Removes a vault that the platform has lost the key of, once the person has agreed to it, and opens the
         * client as a new one: after [open] has failed with [RoundsmanException.KeyGone].
         */
        suspend fun startOver(
            folder: Path,
            keys: PlatformKeys,
            deviceName: String,
            platform: String,
            clock: HostClock? = null,
            attachments: AttachmentOptions? = null,
        ): Roundsman {
            val options = Options(folder.toString(), deviceName, platform, attachments)
            return Roundsman(RoundsmanClient.startOver(options, keys, clock))
        }
    }
}
