import Foundation
import RoundsmanFace

extension Attachments {
    /// Attaches the content of a file, which is read piece by piece and never in memory as a whole. The file stays: remove
    /// it, if it holds a photo that was taken for this.
    public func add(_ new: NewAttachment, file: URL) async throws -> Attachment {
        let size = try file.resourceValues(forKeys: [.fileSizeKey]).fileSize ?? 0
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        return try await addFrom(new: new, size: UInt64(size), source: Source(handle))
    }

    /// Sends what the server has not got; ends with its task. `onMoved` is called from a thread of the library.
    @discardableResult
    public func send(onMoved: (@Sendable (Moved) -> Void)? = nil) async throws -> SentAttachments {
        try await cancellable { try await send(progress: onMoved.map(Following.init), cancel: $0) }
    }

    /// Brings the content of an attachment to this device; ends with its task. `onMoved` is called from a thread of the
    /// library.
    @discardableResult
    public func fetch(_ id: UUID, onMoved: (@Sendable (Moved) -> Void)? = nil) async throws -> Attachment {
        try await cancellable { try await fetch(id: id, progress: onMoved.map(Following.init), cancel: $0) }
    }

    /// A small picture of a photo whose content is on the server, as a JPEG; ends with its task. Fetched once and kept.
    public func thumbnail(_ id: UUID) async throws -> Data {
        try await cancellable { try await thumbnail(id: id, cancel: $0) }
    }
}

/// The library reads it from one thread at a time.
private final class Source: AttachmentSource, @unchecked Sendable {
    private let file: FileHandle

    init(_ file: FileHandle) {
        self.file = file
    }

    func read(most: UInt32) throws -> Data {
        try file.read(upToCount: Int(most)) ?? Data()
    }
}

private final class Following: TransferProgress {
    private let onMoved: @Sendable (Moved) -> Void

    init(_ onMoved: @escaping @Sendable (Moved) -> Void) {
        self.onMoved = onMoved
    }

    func moved(moved: Moved) {
        onMoved(moved)
    }
}
