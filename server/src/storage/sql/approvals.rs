//! SQL of roots, approvers, proposed wipes and policies.

use super::{Row, Tx, blob, by_name, bytes, id, json, maybe_bytes, name_of, number, params, to_json};
use crate::storage::{
    ApprovalsRead, ApprovalsWrite, ProposalState, Result, StorageError, StoredApproval, StoredProposal,
};
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::root::PublicKey;
use uuid::Uuid;

const STATES: [(ProposalState, &str); 3] = [
    (ProposalState::Waiting, "waiting"),
    (ProposalState::Issued, "issued"),
    (ProposalState::Withdrawn, "withdrawn"),
];

fn proposal(row: &Row<'_>) -> Result<StoredProposal> {
    let threshold: Option<i64> = row.get("threshold")?;
    Ok(StoredProposal {
        id: id(row, "id")?,
        device: DeviceId(id(row, "device")?),
        payload: row.get("payload")?,
        proposed_by: UserId(id(row, "proposed_by")?),
        proposed_ms: row.get("proposed_ms")?,
        state: by_name(&STATES, &row.get::<_, String>("state")?)?,
        command: maybe_bytes(row, "command")?.map(Uuid::from_bytes),
        issued_ms: row.get("issued_ms")?,
        threshold: threshold.map(u8::try_from).transpose().map_err(|_| StorageError::Damaged("threshold"))?,
    })
}

impl ApprovalsRead for Tx<'_> {
    fn root_version(&self) -> Result<Option<u32>> {
        self.one("SELECT version FROM root ORDER BY version DESC LIMIT 1", params![], |row| {
            row.get("version")
        })
    }

    fn root_times(&self) -> Result<Vec<(Vec<u8>, i64)>> {
        self.all("SELECT envelope, published_ms FROM root ORDER BY version", params![], |row| {
            Ok((row.get("envelope")?, row.get("published_ms")?))
        })
    }

    fn roots_after(&self, version: u32, limit: usize) -> Result<Vec<Vec<u8>>> {
        self.all(
            "SELECT envelope FROM root WHERE version > ?1 ORDER BY version LIMIT ?2",
            params![version, limit as i64],
            |row| row.get("envelope"),
        )
    }

    fn approver_label(&self, key: KeyId) -> Result<Option<String>> {
        self.one("SELECT label FROM approver WHERE id = ?1", params![key.0.as_slice()], |row| {
            row.get("label")
        })
    }

    fn proposal(&self, id: Uuid) -> Result<Option<StoredProposal>> {
        self.one("SELECT * FROM wipe_proposal WHERE id = ?1", params![blob(&id)], proposal)
    }

    fn proposals_of(&self, device: DeviceId) -> Result<Vec<StoredProposal>> {
        self.all(
            "SELECT * FROM wipe_proposal WHERE device = ?1 ORDER BY n",
            params![blob(&device.0)],
            proposal,
        )
    }

    fn waiting_proposals(&self) -> Result<Vec<StoredProposal>> {
        self.all("SELECT * FROM wipe_proposal WHERE state = 'waiting' ORDER BY n", params![], proposal)
    }

    fn approvals(&self, proposal: Uuid) -> Result<Vec<StoredApproval>> {
        self.all(
            "SELECT * FROM wipe_approval WHERE proposal = ?1 ORDER BY n",
            params![blob(&proposal)],
            |row| {
                Ok(StoredApproval {
                    key: KeyId(bytes(row, "key")?),
                    label: row.get("label")?,
                    signature: bytes(row, "signature")?,
                    at_ms: row.get("at_ms")?,
                })
            },
        )
    }

    fn wipes_since(&self, since_ms: i64) -> Result<(u64, Option<i64>)> {
        let found = self.one(
            "SELECT count(*) AS n, min(issued_ms) AS first FROM wipe_proposal WHERE issued_ms > ?1",
            params![since_ms],
            |row| Ok((number(row, "n")?, row.get("first")?)),
        )?;
        Ok(found.unwrap_or((0, None)))
    }

    fn policy(&self) -> Result<Option<Policy>> {
        self.one("SELECT policy FROM policy ORDER BY version DESC LIMIT 1", params![], |row| {
            json(row, "policy")
        })
    }
}

impl ApprovalsWrite for Tx<'_> {
    fn add_root(&mut self, version: u32, envelope: &[u8], at_ms: i64) -> Result<()> {
        self.run(
            "INSERT INTO root (version, envelope, published_ms) VALUES (?1, ?2, ?3)",
            params![version, envelope, at_ms],
        )?;
        Ok(())
    }

    fn put_approver(&mut self, public: &PublicKey, label: &str) -> Result<()> {
        self.run(
            "INSERT INTO approver (id, public, label) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET label = excluded.label",
            params![KeyId::of(&public.0).0.as_slice(), public.0.as_slice(), label],
        )?;
        Ok(())
    }

    fn put_proposal(&mut self, proposal: &StoredProposal) -> Result<()> {
        self.run(
            "INSERT INTO wipe_proposal
             (id, device, payload, proposed_by, proposed_ms, state, command, issued_ms, threshold)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, command = excluded.command,
             issued_ms = excluded.issued_ms, threshold = excluded.threshold",
            params![
                blob(&proposal.id),
                blob(&proposal.device.0),
                proposal.payload,
                blob(&proposal.proposed_by.0),
                proposal.proposed_ms,
                name_of(&STATES, &proposal.state)?,
                proposal.command.as_ref().map(blob),
                proposal.issued_ms,
                proposal.threshold
            ],
        )?;
        Ok(())
    }

    fn add_approval(&mut self, proposal: Uuid, approval: &StoredApproval) -> Result<bool> {
        let added = self.run(
            "INSERT INTO wipe_approval (proposal, key, label, signature, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![
                blob(&proposal),
                approval.key.0.as_slice(),
                approval.label,
                approval.signature.as_slice(),
                approval.at_ms
            ],
        )?;
        Ok(added == 1)
    }

    fn add_policy(&mut self, policy: &Policy, by: UserId, at_ms: i64) -> Result<()> {
        self.run(
            "INSERT INTO policy (version, policy, set_by, set_ms) VALUES (?1, ?2, ?3, ?4)",
            params![policy.version, to_json(policy)?, blob(&by.0), at_ms],
        )?;
        Ok(())
    }
}
