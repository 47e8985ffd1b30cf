//! Recomputing every chain.

use super::link;
use crate::storage::{Columns, ReadTx, Result, StoredEntry, StoredHead};
use roundsman_model::DeviceId;
use roundsman_protocol::audit::{AuditError, Entry, Head, head_message};
use std::collections::BTreeMap;

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// What is found out about one chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainVerdict {
    /// How many entries are stored.
    pub entries: u64,
    /// What is wrong first, and the number of the entry.
    pub fault: Option<(AuditError, u64)>,
}

/// What is found out about all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The chain of each device that has reported, by its id.
    pub devices: Vec<(DeviceId, ChainVerdict)>,
    /// The server's own chain through the entries of all devices.
    pub server: ChainVerdict,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.server.fault.is_none() && self.devices.iter().all(|(_, chain)| chain.fault.is_none())
    }
}

#[derive(Default)]
struct Chain {
    head: Head,
    /// What the hash was at the number that the device has signed.
    at_signed: Option<[u8; 32]>,
    verdict: ChainVerdict,
}

/// Recomputes every hash from the entries' bytes, and compares with the columns, with the ends noted beside them, and
/// with the ends that the devices have signed. Those signatures the server can't make: an entry that was changed is
/// found even if every hash after it was made anew.
pub(crate) fn verify(tx: &dyn ReadTx) -> Result<Verdict> {
    let known = tx.devices()?;
    let mut ends = BTreeMap::new();
    let mut chains: BTreeMap<DeviceId, Chain> = BTreeMap::new();
    for device in &known {
        let end = tx.audit_head(device.id)?;
        if end.head.seq > 0 {
            chains.insert(device.id, Chain::default());
        }
        ends.insert(device.id, end);
    }
    let mut server = ChainVerdict::default();
    let (mut last, mut hash) = (0, [0; 32]);
    loop {
        let page = tx.audit_after(last, PAGE)?;
        let Some(end) = page.last() else { break };
        let end = end.n;
        for stored in page {
            server.entries += 1;
            hash = link(&hash, stored.device, &stored.bytes);
            if stored.n != server.entries {
                server.fault.get_or_insert((AuditError::Gap, server.entries));
            } else if stored.chain != hash {
                server.fault.get_or_insert((AuditError::Edited, stored.n));
            }
            let signed = ends.get(&stored.device).map_or(0, |end| end.signed.seq);
            chains.entry(stored.device).or_default().add(&stored, signed);
        }
        last = end;
    }
    let (end, end_hash) = tx.audit_end()?;
    if server.entries < end {
        server.fault.get_or_insert((AuditError::Truncated, server.entries + 1));
    } else if (server.entries, hash) != (end, end_hash) {
        server.fault.get_or_insert((AuditError::Edited, server.entries));
    }
    for device in &known {
        if let (Some(chain), Some(end)) = (chains.get_mut(&device.id), ends.get(&device.id)) {
            chain
                .close(end, |head| device.key.verify(&head_message(device.id, head), &end.signature).is_ok());
        }
    }
    let devices = chains.into_iter().map(|(device, chain)| (device, chain.verdict)).collect();
    Ok(Verdict { devices, server })
}

impl Chain {
    fn add(&mut self, stored: &StoredEntry, signed: u64) {
        self.verdict.entries += 1;
        if self.verdict.fault.is_some() {
            return;
        }
        match self.head.extend(stored.device, &stored.bytes) {
            Ok((head, entry)) => {
                if head.hash != stored.head || !repeats(&stored.entry, &entry) {
                    self.verdict.fault = Some((AuditError::Edited, head.seq));
                }
                self.head = head;
                if head.seq == signed {
                    self.at_signed = Some(head.hash);
                }
            }
            Err(kind) => self.verdict.fault = Some((kind, self.head.seq + 1)),
        }
    }

    fn close(&mut self, end: &StoredHead, signed_by_device: impl FnOnce(Head) -> bool) {
        if self.verdict.fault.is_some() {
            return;
        }
        let signed = end.signed.seq > 0;
        self.verdict.fault = if self.head.seq < end.head.seq {
            Some((AuditError::Truncated, self.head.seq + 1))
        } else if self.head != end.head {
            Some((AuditError::Edited, self.head.seq))
        } else if signed && (self.at_signed != Some(end.signed.hash) || !signed_by_device(end.signed)) {
            Some((AuditError::Edited, end.signed.seq))
        } else {
            None
        };
    }
}

fn repeats(columns: &Columns, entry: &Entry) -> bool {
    Columns::of(entry).as_ref() == Some(columns)
}
