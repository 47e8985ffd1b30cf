//! Attachments as records that go with sync.

use super::{AttachedTo, Attachment, AttachmentKind, Attachments};
use crate::Error;
use crate::store::{Edits, Made, Records, SealedFile, StoreError};
use roundsman_model::attachment::{Attachment as Record, to_hex};
use roundsman_model::customer::Customer;
use roundsman_model::visit::Visit;
use roundsman_model::{Choice, FieldType, Fields};
use uuid::Uuid;

impl AttachedTo {
    /// The territory of the record, if it is here.
    pub(super) fn territory(self, records: &Records<'_>) -> Result<Option<String>, StoreError> {
        Ok(match self {
            Self::Visit(id) => records.get::<Visit>(id)?.map(|visit| visit.territory),
            Self::Customer(id) => records.get::<Customer>(id)?.map(|customer| customer.territory),
        })
    }
}

impl Attachments {
    /// Makes the record of a file that was just added, for the server and for other phones.
    pub(super) fn describe(
        &self,
        edits: &mut Edits<'_>,
        row: &SealedFile,
        territory: &str,
        made: &Made,
    ) -> Result<(), Error> {
        let fields = [
            ("of", row.entity.as_str().into()),
            ("record", row.record.to_value()),
            ("territory", territory.into()),
            ("sort", row.kind.as_str().into()),
            ("media_type", row.media_type.as_str().into()),
            ("size", (row.size as i64).to_value()),
            ("sha256", to_hex(&row.sha256).as_str().into()),
            ("author", self.seams.user.0.to_value()),
            ("added_at", roundsman_model::Value::Int(row.added_ms)),
        ];
        let fields: Fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        edits.put::<Record, Error>(row.id, fields, made)?;
        edits.keep_unsent(row.id)?;
        Ok(edits.all_described()?)
    }

    /// Gives those a record that were added before there were any, and are still attached to something.
    pub(super) fn describe_old(&self) -> Result<(), Error> {
        let Some(old) = self.store.read(|records| Ok::<_, Error>(records.undescribed_files()?))? else {
            return Ok(());
        };
        if old.is_empty() {
            return Ok(());
        }
        let (clock, entropy) = (&*self.seams.clock, &*self.seams.entropy);
        self.store.write(|edits| {
            for row in &old {
                let of = AttachedTo::stored(&row.entity, row.record)?;
                if let Some(territory) = of.territory(edits)? {
                    self.describe(edits, row, &territory, &Made::now(clock, entropy)?)?;
                } else {
                    // Its record has left: it stays, as it was promised when it was added.
                    edits.keep_unsent(row.id)?;
                }
            }
            Ok::<_, Error>(edits.all_described()?)
        })
    }

    /// The record of an attachment, if it is in the user's scope.
    pub(crate) fn record(&self, id: Uuid) -> Result<Option<Record>, Error> {
        self.store.read(|records| Ok(records.get::<Record>(id)?))
    }

    /// An attachment whose content may not be here.
    pub(super) fn described(&self, record: &Record, here: bool) -> Result<Attachment, Error> {
        let hash = record.hash().ok_or(StoreError::Corrupt)?;
        Ok(Attachment {
            id: record.id,
            of: AttachedTo::stored(record.of.name(), record.record)?,
            kind: AttachmentKind::stored(record.sort.name())?,
            media_type: record.media_type.clone(),
            size: record.bytes(),
            added_at: record.added_at,
            content_id: self.keyring.with(|keys| Ok(keys.content_id(&hash)))?,
            here,
            stored_at: record.stored_at,
        })
    }
}
