import Foundation

/// A real server in a process of its own, with five customers and one rep.
final class TestServer {
    private let process = Process()
    private let requests = Pipe()
    private let answers = Pipe()

    init() throws {
        let path = ProcessInfo.processInfo.environment["ROUNDSMAN_TESTSERVER"] ?? "roundsman-testserver"
        process.executableURL = URL(fileURLWithPath: path)
        process.standardInput = requests
        process.standardOutput = answers
        try process.run()
        _ = try answer("url")
    }

    /// A fresh enrolment code for the rep.
    func ticket() throws -> String {
        try ask("ticket", "ticket")
    }

    func wipe(_ device: String) throws {
        _ = try ask("wipe \(device)", "done")
    }

    func lock(_ device: String) throws {
        _ = try ask("lock \(device)", "done")
    }

    func unlock(_ device: String) throws {
        _ = try ask("unlock \(device)", "done")
    }

    /// Opens what a wiped device has handed over, takes it into the records, and says how many changes it was.
    func rescued(_ device: String) throws -> Int? {
        Int(try ask("rescued \(device)", "rescued"))
    }

    /// How the device stands for the administrator.
    func status(_ device: String) throws -> String {
        try ask("status \(device)", "status")
    }

    /// What follows from a rooted phone: `allow`, `warn` or `lock`.
    func rooted(_ verdict: String) throws {
        _ = try ask("rooted \(verdict)", "done")
    }

    /// A server that takes connections and never answers, for as long as `block` runs.
    func whileItHangs(_ block: () async throws -> Void) async throws {
        _ = process.suspend()
        defer { _ = process.resume() }
        try await block()
    }

    func stop() {
        try? requests.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    private func ask(_ line: String, _ key: String) throws -> String {
        try requests.fileHandleForWriting.write(contentsOf: Data("\(line)\n".utf8))
        return try answer(key)
    }

    private func answer(_ key: String) throws -> String {
        var line = Data()
        while let byte = try answers.fileHandleForReading.read(upToCount: 1), byte != Data("\n".utf8), !byte.isEmpty {
            line.append(byte)
        }
        let answer = try JSONSerialization.jsonObject(with: line) as? [String: String]
        guard let value = answer?[key] else {
            throw CocoaError(.coderReadCorrupt, userInfo: ["line": String(decoding: line, as: UTF8.self)])
        }
        return value
    }
}
