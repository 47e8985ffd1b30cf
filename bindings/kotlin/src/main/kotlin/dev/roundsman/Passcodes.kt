package dev.roundsman

/**
 * Moves a passcode into the library and overwrites the array with zeros.
 *
 * For a keypad of your own, make a [Passcode] and [Passcode.push] each key: then nothing of it is ever in the JVM's
 * heap.
 *
 * @throws RoundsmanException.WeakPasscode if it has more than 128 characters, or is no text
 */
fun CharArray.toPasscode(): Passcode {
    val passcode = Passcode()
    try {
        var at = 0
        while (at < size) {
            val codePoint = Character.codePointAt(this, at)
            passcode.push(codePoint.toUInt())
            at += Character.charCount(codePoint)
        }
        return passcode
    } catch (refused: RoundsmanException) {
        passcode.close()
        throw refused
    } finally {
        fill('\u0000')
    }
}
