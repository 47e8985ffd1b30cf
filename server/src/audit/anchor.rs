//! The end of the server's chain, signed and kept elsewhere. With one of these at hand a database that was replaced or cut
//! is found out, which the database itself can't show.

use crate::keys::OrgKeys;
use crate::storage::{ReadTx, Result, StorageError};
use crate::tls::write_private;
use chrono::{DateTime, SecondsFormat, Utc};
use roundsman_protocol::audit::{Anchor, Head};
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::root::Root;
use roundsman_protocol::{b64, sha256};
use std::io;
use std::path::{Path, PathBuf};

const TITLE: &str = "roundsman audit anchor v1";

/// What an anchor says about the stored log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// Every entry up to there is stored as it was.
    Holds {
        /// How many entries it vouches for.
        entries: u64,
    },
    /// The log has lost its end since, or its database is an older one.
    Shorter {
        /// How many entries there were.
        entries: u64,
        /// How many are stored.
        stored: u64,
    },
    /// The entries up to there are other ones.
    Other {
        /// How many entries there were.
        entries: u64,
    },
    /// No key that ever was the server's has signed it.
    Unsigned,
}

/// The text of a new anchor: lines for people, and the signed bytes in base64url.
pub(crate) fn make(tx: &dyn ReadTx, keys: &OrgKeys, now: DateTime<Utc>) -> Result<String> {
    let (seq, hash) = tx.audit_end()?;
    let anchor = Anchor { org: keys.root.org, head: Head { seq, hash }, at_ms: now.timestamp_millis() };
    let signed = b64::encode(keys.sign(Domain::Anchor, anchor.to_bytes()));
    let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(format!("{TITLE}\nentries: {seq}\nat: {at}\nsigned: {signed}\n"))
}

/// Writes a new anchor into a folder, in a file that is named after the day and can't be written again. `None` if the
/// day has one.
pub(crate) fn keep(
    tx: &dyn ReadTx,
    keys: &OrgKeys,
    folder: &Path,
    now: DateTime<Utc>,
) -> Result<io::Result<Option<PathBuf>>> {
    let path = folder.join(format!("audit-{}.anchor", now.format("%Y-%m-%d")));
    if path.exists() {
        return Ok(Ok(None));
    }
    let text = make(tx, keys, now)?;
    Ok(write_read_only(&path, text.as_bytes()).map(|()| Some(path)))
}

fn write_read_only(path: &Path, text: &[u8]) -> io::Result<()> {
    write_private(path, text)?;
    let mut permissions = std::fs::metadata(path)?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path, permissions)
}

/// Compares the stored log with an anchor. `None` if the text is no anchor. The hashes of the log must have been verified:
/// only their end is looked at.
pub(crate) fn compare(tx: &dyn ReadTx, text: &str) -> Result<Option<Anchored>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let signed = lines.next().filter(|title| *title == TITLE).and_then(|_| {
        let signed = lines.find_map(|line| line.strip_prefix("signed:"))?;
        b64::decode(signed.trim())
    });
    let Some(signed) = signed else { return Ok(None) };
    let Some(Head { seq: entries, hash }) = open(tx, &signed)? else { return Ok(Some(Anchored::Unsigned)) };
    let (stored, _) = tx.audit_end()?;
    if stored < entries {
        return Ok(Some(Anchored::Shorter { entries, stored }));
    }
    let chain = match entries.checked_sub(1) {
        None => Some([0; 32]),
        Some(before) => {
            tx.audit_after(before, 1)?.first().filter(|last| last.n == entries).map(|last| last.chain)
        }
    };
    Ok(Some(if chain == Some(hash) { Anchored::Holds { entries } } else { Anchored::Other { entries } }))
}

/// The chain's end that an anchor vouches for, if it was signed under any root that the organisation had.
fn open(tx: &dyn ReadTx, signed: &[u8]) -> Result<Option<Head>> {
    let mut version = 0;
    loop {
        let page = tx.roots_after(version, 16)?;
        if page.is_empty() {
            return Ok(None);
        }
        for envelope in page {
            let root = Root::open_first(&envelope, &sha256(&[&envelope]));
            let root = root.map_err(|_| StorageError::Damaged("root"))?;
            version = root.version;
            if let Ok(anchor) = Anchor::open(signed, &root) {
                return Ok(Some(anchor.head));
            }
        }
    }
}
