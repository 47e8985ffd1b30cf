//! SQL of devices that wait for a person to compare digits.

use super::{Row, Tx, blob, by_name, bytes, id, maybe_bytes, name_of, params};
use crate::storage::{
    EnrolmentState, EnrolmentsRead, EnrolmentsWrite, Result, StorageError, StoredEnrolment,
};
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::enrolment::Digits;
use roundsman_protocol::keys::DeviceKey;
use uuid::Uuid;

const STATES: [(EnrolmentState, &str); 5] = [
    (EnrolmentState::Begun, "begun"),
    (EnrolmentState::Waiting, "waiting"),
    (EnrolmentState::Confirmed, "confirmed"),
    (EnrolmentState::Refused, "refused"),
    (EnrolmentState::Done, "done"),
];

fn enrolment(row: &Row<'_>) -> Result<StoredEnrolment> {
    let key: Vec<u8> = row.get("key")?;
    let digits: Option<u32> = row.get("digits")?;
    Ok(StoredEnrolment {
        id: id(row, "id")?,
        user: UserId(id(row, "user")?),
        key: DeviceKey::from_sec1(&key).map_err(|_| StorageError::Damaged("device key"))?,
        install: id(row, "install")?,
        name: row.get("name")?,
        platform: row.get("platform")?,
        hardware_keys: row.get("hardware_keys")?,
        core: row.get("core")?,
        ticket: bytes(row, "ticket")?,
        commitment: bytes(row, "commitment")?,
        nonce: bytes(row, "nonce")?,
        begun_ms: row.get("begun_ms")?,
        digits: digits
            .map(|number| Digits::from_number(number).ok_or(StorageError::Damaged("digits")))
            .transpose()?,
        state: by_name(&STATES, &row.get::<_, String>("state")?)?,
        device: maybe_bytes(row, "device")?.map(|id| DeviceId(Uuid::from_bytes(id))),
    })
}

impl EnrolmentsRead for Tx<'_> {
    fn enrolment(&self, id: Uuid) -> Result<Option<StoredEnrolment>> {
        self.one("SELECT * FROM enrolment WHERE id = ?1", params![blob(&id)], enrolment)
    }

    fn enrolments_since(&self, since_ms: i64) -> Result<Vec<StoredEnrolment>> {
        self.all(
            "SELECT * FROM enrolment WHERE begun_ms > ?1 ORDER BY begun_ms, id",
            params![since_ms],
            enrolment,
        )
    }
}

impl EnrolmentsWrite for Tx<'_> {
    fn add_enrolment(&mut self, enrolment: &StoredEnrolment, forget_before_ms: i64) -> Result<()> {
        self.run("DELETE FROM enrolment WHERE begun_ms < ?1", params![forget_before_ms])?;
        self.run(
            "INSERT INTO enrolment (id, \"user\", key, install, name, platform, hardware_keys, core, ticket, commitment,
                nonce, begun_ms, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                blob(&enrolment.id),
                blob(&enrolment.user.0),
                enrolment.key.as_sec1().as_slice(),
                blob(&enrolment.install),
                enrolment.name,
                enrolment.platform,
                enrolment.hardware_keys,
                enrolment.core,
                enrolment.ticket.as_slice(),
                enrolment.commitment.as_slice(),
                enrolment.nonce.as_slice(),
                enrolment.begun_ms,
                name_of(&STATES, &enrolment.state)?
            ],
        )?;
        Ok(())
    }

    fn set_enrolment(&mut self, enrolment: &StoredEnrolment) -> Result<()> {
        self.run(
            "UPDATE enrolment SET digits = ?2, state = ?3, device = ?4 WHERE id = ?1",
            params![
                blob(&enrolment.id),
                enrolment.digits.map(Digits::number),
                name_of(&STATES, &enrolment.state)?,
                enrolment.device.as_ref().map(|device| blob(&device.0))
            ],
        )?;
        Ok(())
    }
}
