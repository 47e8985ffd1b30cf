package dev.roundsman

import java.io.InputStream
import java.util.UUID

/**
 * Attaches [size] bytes of [content], which is read piece by piece on a thread of the library and is not closed: for a
 * photo that a camera app has left under an `Uri`. The content is never in memory as a whole.
 */
suspend fun Attachments.add(new: NewAttachment, content: InputStream, size: Long): Attachment =
    addFrom(
        new,
        size.toULong(),
        object : AttachmentSource {
            override fun read(most: UInt): ByteArray = content.readNBytes(most.toInt())
        },
    )

/** Sends what the server has not got; [onMoved] is called from a thread of the library. */
suspend fun Attachments.send(onMoved: (Moved) -> Unit): SentAttachments = send(Following(onMoved))

/** Brings the content of an attachment to this device; [onMoved] is called from a thread of the library. */
suspend fun Attachments.fetch(id: UUID, onMoved: (Moved) -> Unit): Attachment = fetch(id, Following(onMoved))

private class Following(private val onMoved: (Moved) -> Unit) : TransferProgress {
    override fun moved(moved: Moved) = onMoved(moved)
}
