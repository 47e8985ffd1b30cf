//! Doors for fuzz targets: the contents of files, behind their authentication.

/// The content of the control file.
pub fn control(bytes: &[u8]) {
    if let Ok(record) = super::Record::from_bytes(bytes, "control") {
        let _ = record.to_bytes();
    }
}

/// The content of the slot file, and of the release share's.
pub fn slots(bytes: &[u8]) {
    super::slots::try_read(bytes);
    super::share::try_read(bytes);
}

/// The audit log.
pub fn audit_log(bytes: &[u8]) {
    super::audit::try_read(bytes);
}
