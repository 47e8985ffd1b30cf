package dev.roundsman

import java.awt.image.BufferedImage
import java.io.ByteArrayInputStream
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.io.InputStream
import java.util.UUID
import java.util.concurrent.ConcurrentLinkedQueue
import javax.imageio.ImageIO
import kotlin.random.Random
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Photos on their way from one phone to another. */
class AttachmentTest {
    /** A picture as far as anybody here looks: several parts of an upload, and several chunks of a file. */
    private val picture = Random(7).nextBytes(700_000)

    @Test
    fun `a photo is added, sent and fetched on another phone`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val bo = rig.enrolled("bo")
        val visit = ana.visit()
        val photo = ana.attachments.add(photoOf(visit), picture)
        assertEquals(Waiting(1u, picture.size.toULong()), ana.attachments.waiting())
        assertNull(photo.storedAt)
        ana.sync()
        bo.sync()
        val known = bo.attachments.of(visit.id).single()
        assertEquals(listOf(photo.id, photo.size), listOf(known.id, known.size))
        assertFalse(known.here)
        assertEquals(AttachmentFlaw.NotFetched, flaw { bo.attachments.read(photo.id) })
        assertEquals(AttachmentFlaw.NotSentYet, flaw { bo.attachments.fetch(photo.id) })

        val moved = ConcurrentLinkedQueue<Moved>()
        val sent = ana.attachments.send { moved.add(it) }
        assertEquals(listOf(1uL, 0uL), listOf(sent.files, sent.left))
        assertEquals(Moved(photo.id, photo.size, photo.size, 0u), moved.last())
        ana.sync()
        assertNotNull(ana.attachments.get(photo.id)?.storedAt)
        bo.sync()
        assertTrue(bo.attachments.fetch(photo.id) { moved.add(it) }.here)
        assertContentEquals(picture, bo.attachments.read(photo.id))
        bo.attachments.open(photo.id).use { reader ->
            assertEquals(photo.size, reader.size())
            assertContentEquals(picture.copyOfRange(100_000, 100_010), reader.readAt(100_000u, 10u))
            assertEquals(0, reader.readAt(photo.size, 10u).size)
            bo.lock()
            assertFailsWith<RoundsmanException.Locked> { reader.readAt(0u, 1u) }
        }
    }

    @Test
    fun `a stream is attached piece by piece, and one of another size is not`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        val new = photoOf(visit)
        val size = picture.size.toLong()
        assertEquals(AttachmentFlaw.OtherSize, flaw { ana.attachments.add(new, ByteArrayInputStream(picture), size + 1) })
        assertEquals(AttachmentFlaw.OtherSize, flaw { ana.attachments.add(new, ByteArrayInputStream(picture), size - 1) })
        val broken = object : InputStream() {
            override fun read(): Int = throw IOException("the card was taken out")
        }
        assertEquals(AttachmentFlaw.Unreadable, flaw { ana.attachments.add(new, broken, size) })
        assertEquals(emptyList(), ana.attachments.of(visit.id))

        val added = ana.attachments.add(new, ByteArrayInputStream(picture), size)
        assertEquals(added.id, ana.attachments.add(new, picture).id, "the same content is there once")
        assertContentEquals(picture, ana.attachments.read(added.id))
        ana.attachments.remove(added.id)
        assertNull(ana.attachments.get(added.id))
        assertFailsWith<RoundsmanException.NotFound> { ana.attachments.read(added.id) }
    }

    @Test
    fun `what is too large, of no type or of no record is refused with what to do`() = onRig { rig ->
        val limits = AttachmentOptions(one = 1_000_000u, all = 1_500_000u)
        val ana = rig.enrolled("ana", attachments = limits)
        val visit = ana.visit()
        val new = photoOf(visit)
        assertEquals(AttachmentFlaw.TooLarge(1_000_000u), flaw { ana.attachments.add(new, ByteArray(1_000_001)) })
        assertEquals(AttachmentFlaw.MediaType, flaw { ana.attachments.add(new.copy(mediaType = "a picture"), picture) })
        val nowhere = new.copy(of = AttachedTo.Customer(UUID.randomUUID()))
        assertFailsWith<RoundsmanException.NotFound> { ana.attachments.add(nowhere, picture) }
        ana.attachments.add(new, picture)
        val left = ana.attachments.room()
        assertEquals(AttachmentFlaw.NoRoom(left), flaw { ana.attachments.add(new, ByteArray(900_000)) })
        assertEquals(1, ana.attachments.of(visit.id).size)

        // What the server has makes room.
        ana.sync()
        ana.attachments.send()
        ana.sync()
        ana.attachments.add(new, ByteArray(900_000))
    }

    @Test
    fun `photos wait for a network that costs nothing, unless the app says otherwise`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val visit = ana.visit()
        ana.attachments.add(photoOf(visit), picture)
        ana.setNetwork(NetworkKind.METERED)
        ana.sync()
        val waits = ana.attachments.send()
        assertTrue(waits.waits)
        assertEquals(listOf(0uL, 1uL, picture.size.toULong()), listOf(waits.files, waits.left, waits.leftBytes))
        ana.setNetwork(NetworkKind.UNMETERED)
        assertEquals(1uL, ana.attachments.send().files)

        val bo = rig.enrolled("bo", attachments = AttachmentOptions(metered = true))
        bo.attachments.add(photoOf(visit), picture.reversedArray())
        bo.setNetwork(NetworkKind.METERED)
        bo.sync()
        assertEquals(1uL, bo.attachments.send().files)
    }

    @Test
    fun `a photo loses where it was taken, unless the app keeps it`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val new = photoOf(ana.visit()).copy(mediaType = "image/jpeg")
        val placeless = ana.attachments.read(ana.attachments.add(new, jpegWithPlace()).id)
        assertEquals(jpegWithPlace().size, placeless.size)
        assertFalse(placeless.contentEquals(jpegWithPlace()))
        val kept = ana.attachments.add(new.copy(keepPlace = true), jpegWithPlace())
        assertContentEquals(jpegWithPlace(), ana.attachments.read(kept.id))
    }

    @Test
    fun `a small picture of a photo that the server has is fetched once and kept`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val bo = rig.enrolled("bo")
        val visit = ana.visit()
        val photo = ana.attachments.add(photoOf(visit).copy(mediaType = "image/jpeg"), shelf())
        val noPicture = ana.attachments.add(photoOf(visit), picture)
        assertEquals(AttachmentFlaw.NotSentYet, flaw { ana.attachments.thumbnail(photo.id) })
        ana.sync()
        ana.attachments.send()
        bo.sync()
        assertNull(bo.attachments.keptThumbnail(photo.id))
        val small = bo.attachments.thumbnail(photo.id)
        val drawn = assertNotNull(ImageIO.read(ByteArrayInputStream(small)))
        assertEquals(listOf(320, 160), listOf(drawn.width, drawn.height))
        assertContentEquals(small, bo.attachments.keptThumbnail(photo.id))
        assertEquals(AttachmentFlaw.NoThumbnail, flaw { bo.attachments.thumbnail(noPicture.id) })
    }

    @Test
    fun `a damaged photo is a finding that says what to do, and a sound vault has none`() = onRig { rig ->
        val ana = rig.enrolled("ana")
        val photo = ana.attachments.add(photoOf(ana.visit()), picture)
        ana.sync()
        ana.attachments.send()
        ana.sync()
        val parts = ConcurrentLinkedQueue<CheckedPart>()
        val sound = ana.verify { part, _, _ -> parts.add(part) }
        assertEquals(emptyList(), sound.findings)
        assertEquals(listOf(1uL, picture.size.toULong()), listOf(sound.attachments, sound.attachmentBytes))
        assertTrue(sound.rows > 0uL && sound.auditEntries > 0uL)
        assertTrue(assertIs<ServerCheck.Compared>(sound.server).buckets > 0uL)
        assertEquals(CheckedPart.entries.toSet(), parts.toSet())

        val file = rig.folder("ana").resolve("att").toFile().walk().filter { it.isFile }.single()
        file.writeBytes(file.readBytes().also { it[it.size / 2] = (it[it.size / 2] + 1).toByte() })
        val finding = ana.verify().findings.single()
        assertEquals(Fault.Attachment(photo.id), finding.fault)
        assertTrue(finding.mended && finding.words.isNotBlank())
        assertEquals(ToDo.FETCH_AGAIN, finding.toDo)
        assertFalse(assertNotNull(ana.attachments.get(photo.id)).here)
        ana.lock()
        assertFailsWith<RoundsmanException.Locked> { ana.verify() }
    }

    /** A JPEG of 800 by 400 pixels. */
    private fun shelf(): ByteArray {
        val image = BufferedImage(800, 400, BufferedImage.TYPE_INT_RGB)
        for (x in 0 until 800) for (y in 0 until 400) image.setRGB(x, y, x * 7 + y * 256)
        return ByteArrayOutputStream().also { ImageIO.write(image, "jpg", it) }.toByteArray()
    }

    /** The least of a JPEG that has a GPS directory, which says that it was taken north of the equator. */
    private fun jpegWithPlace(): ByteArray {
        fun bytes(vararg values: Int) = values.map { it.toByte() }.toByteArray()
        val header = "II".toByteArray() + bytes(42, 0, 8, 0, 0, 0)
        val gps = bytes(1, 0, 0x25, 0x88, 4, 0, 1, 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0)
        val north = bytes(1, 0, 1, 0, 2, 0, 2, 0, 0, 0, 'N'.code, 0, 0, 0, 0, 0, 0, 0)
        val exif = "Exif".toByteArray() + bytes(0, 0) + header + gps + north
        return bytes(0xff, 0xd8, 0xff, 0xe1, 0, exif.size + 2) + exif + bytes(0xff, 0xd9)
    }

    private fun photoOf(visit: Visit) = NewAttachment(AttachedTo.Visit(visit.id), AttachmentKind.PHOTO, "image/webp")

    private suspend fun flaw(call: suspend () -> Unit): AttachmentFlaw =
        assertFailsWith<RoundsmanException.Attachment> { call() }.reason
}
