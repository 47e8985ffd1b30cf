//! Values that lost in a collision of two edits, until somebody has decided.

use crate::worker::local;
use crate::{Instant, RoundsmanError};
use roundsman_core::Client;
use roundsman_core::conflicts::OpenConflict;
use roundsman_core::model::Value;
use uuid::Uuid;

/// A field's value.
pub type FieldValue = Value;
/// A field's value.
#[uniffi::remote(Enum)]
pub enum FieldValue {
    /// No value.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number, or a moment in milliseconds since 1970.
    Int(i64),
    /// A number.
    Real(f64),
    /// A text, a choice or a day.
    Text(String),
    /// Words, each once.
    Set(Vec<String>),
    /// A record.
    Id(Uuid),
    /// What a newer version of the app wrote, and this one can't show. Never among a record's own fields.
    Other {},
}

/// A conflict that nobody has settled. Holds personal data: keep it out of logs.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Conflict {
    /// Its id, the same on every device.
    pub id: Uuid,
    /// `customer` or `visit`.
    pub entity: String,
    /// The record.
    pub record: Uuid,
    /// The field.
    pub field: String,
    /// The value that stands.
    pub now: FieldValue,
    /// The value that lost; nothing if this version of the app can't hold it.
    pub lost: Option<FieldValue>,
    /// Whose value lost; nothing for the office's.
    pub loser: Option<Uuid>,
    /// Whose value stood when it was found; nothing for the office's.
    pub winner: Option<Uuid>,
    /// When the server found it.
    pub found_at: Instant,
}

/// The conflicts about the records of this device. Whoever settles one settles it for all, once the server has taken
/// that.
#[derive(uniffi::Object)]
pub struct Conflicts {
    pub(crate) client: Client,
}

#[uniffi::export]
impl Conflicts {
    /// Those that are not settled, oldest first.
    pub async fn list(&self) -> Result<Vec<Conflict>, RoundsmanError> {
        let client = self.client.clone();
        let open = local(move || client.conflicts()?.list()).await?;
        Ok(open.into_iter().map(Into::into).collect())
    }

    /// Leaves the field as it stands. Sent with the next sync.
    ///
    /// # Errors
    /// `NotFound` if there is no such conflict, or it is settled.
    pub async fn keep(&self, conflict: Uuid) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.conflicts()?.keep(conflict)).await
    }

    /// Puts the value that lost into the field. Sent with the next sync.
    ///
    /// # Errors
    /// `NotFound`; `Rule` if the record can't have that value. The conflict stays then.
    pub async fn take_lost(&self, conflict: Uuid) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.conflicts()?.take_lost(conflict)).await
    }

    /// Puts another value into the field. Sent with the next sync.
    ///
    /// # Errors
    /// `NotFound`; `Rule` if the record can't have that value. The conflict stays then.
    pub async fn write(&self, conflict: Uuid, value: FieldValue) -> Result<(), RoundsmanError> {
        let client = self.client.clone();
        local(move || client.conflicts()?.write(conflict, value)).await
    }
}

impl From<OpenConflict> for Conflict {
    fn from(open: OpenConflict) -> Self {
        let OpenConflict { id, entity, record, field, now, lost, loser, winner, found_at } = open;
        let (loser, winner) = (loser.map(|user| user.0), winner.map(|user| user.0));
        Self { id, entity, record, field, now, lost, loser, winner, found_at }
    }
}
