package dev.roundsman

import java.math.BigInteger
import java.security.KeyPair
import java.security.KeyPairGenerator
import java.security.SecureRandom
import java.security.Signature
import java.security.interfaces.ECPublicKey
import java.security.spec.ECGenParameterSpec
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicInteger
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

/** A keystore written in Kotlin alone, as an app writes one over its platform's. */
class JvmKeys : PlatformKeys {
    private val secrets = ConcurrentHashMap<KeyAlias, SecretKeySpec>()
    private val pairs = ConcurrentHashMap<KeyAlias, KeyPair>()

    @Volatile
    private var mark: ByteArray? = null

    /** What comes of asking the person for a finger; nothing is thrown while they show the right one. */
    @Volatile
    var finger: KeyException? = null

    /** How often it was called. */
    val calls = AtomicInteger()

    /** Thrown by every call while it is set. */
    @Volatile
    var failure: Exception? = null

    /** Threads it was called from. */
    val threads: MutableSet<Thread> = ConcurrentHashMap.newKeySet()

    override fun create(alias: KeyAlias) = called {
        if (alias == KeyAlias.IDENTITY) {
            pairs.computeIfAbsent(alias) {
                KeyPairGenerator.getInstance("EC").apply { initialize(ECGenParameterSpec("secp256r1")) }.generateKeyPair()
            }
        } else {
            secrets.computeIfAbsent(alias) {
                SecretKeySpec(ByteArray(32).also(SecureRandom()::nextBytes), "HmacSHA256")
            }
        }
        Unit
    }

    override fun exists(alias: KeyAlias) = called { secrets.containsKey(alias) || pairs.containsKey(alias) }

    override fun hmac(alias: KeyAlias, data: ByteArray): ByteArray = called {
        val key = secrets[alias] ?: throw KeyException.Gone()
        if (alias == KeyAlias.BIOMETRIC) finger?.let { throw it }
        Mac.getInstance("HmacSHA256").apply { init(key) }.doFinal(data)
    }

    override fun publicKey(alias: KeyAlias): ByteArray = called {
        val point = (pair(alias).public as ECPublicKey).w
        byteArrayOf(4) + coordinate(point.affineX) + coordinate(point.affineY)
    }

    override fun sign(alias: KeyAlias, message: ByteArray): ByteArray = called {
        Signature.getInstance("SHA256withECDSAinP1363Format").run {
            initSign(pair(alias).private)
            update(message)
            sign()
        }
    }

    override fun delete(alias: KeyAlias) = called {
        secrets.remove(alias)
        pairs.remove(alias)
        Unit
    }

    override fun hardware() = false

    override fun mark(): ByteArray? = called { mark }

    override fun setMark(mark: ByteArray) = called { this.mark = mark.takeIf { it.isNotEmpty() } }

    private fun pair(alias: KeyAlias) = pairs[alias] ?: throw KeyException.Gone()

    private inline fun <T> called(answer: () -> T): T {
        calls.incrementAndGet()
        threads += Thread.currentThread()
        failure?.let { throw it }
        return answer()
    }

    private fun coordinate(number: BigInteger): ByteArray {
        val bytes = number.toByteArray()
        return ByteArray(32).also { bytes.copyInto(it, maxOf(0, 32 - bytes.size), maxOf(0, bytes.size - 32)) }
    }
}
