import RoundsmanFace

/// Getting into the vault by other ways, and what a passcode must be like.
extension Roundsman {
    /// Opens the vault by finger or face; the keystore asks the person. Never counts as an attempt at the passcode.
    /// Whenever it fails with `.Biometrics`, the passcode opens.
    public func unlockWithBiometrics() async throws {
        try await client.unlockWithBiometrics()
    }

    /// Lets finger or face open the vault, for 72 hours after each passcode. The keystore asks once. Empties
    /// `passcode`.
    public func enableBiometrics(_ passcode: Passcode) async throws {
        try await client.enableBiometrics(passcode: passcode)
    }

    /// Takes biometrics away. Needs no passcode.
    public func disableBiometrics() async throws {
        try await client.disableBiometrics()
    }

    /// Whether finger or face may open the vault. The passcode may have to be typed all the same.
    public func biometrics() async throws -> Bool {
        try await client.biometrics()
    }

    /// What a new passcode must be like; `check(passcode:)` says what is wrong with it while it is typed.
    public func passcodeRules() async throws -> PasscodeRules {
        try await client.passcodeRules()
    }

    /// Whether the passcode is to be changed, now or soon; nil while it is young or the vault is closed.
    public func passcodeDue() async throws -> PasscodeDue? {
        try await client.passcodeDue()
    }

    /// Changes the passcode, and takes biometrics away. Empties both.
    public func changePasscode(from old: Passcode, to new: Passcode) async throws {
        try await client.changePasscode(old: old, new: new)
    }

    /// Gives the vault a new key, after the old one may have become known. An open vault is closed meanwhile: running
    /// calls end with `.Locked`, and so do streams of changes. Empties `passcode`.
    public func rotateVaultKey(_ passcode: Passcode) async throws {
        try await client.rotateVaultKey(passcode: passcode)
    }

    /// Erases the device on its user's wish; go on calling ``checkIn()`` until the state is `.wiped`. Empties
    /// `passcode`.
    public func erase(_ passcode: Passcode) async throws {
        try await client.erase(passcode: passcode)
    }

    /// Erases a device that no passcode opens any more.
    public func eraseWithoutPasscode() async throws {
        try await client.eraseWithoutPasscode()
    }
}
