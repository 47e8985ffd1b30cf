//! Photos, signatures and files of visits and customers.

use super::{Admin, AdminError, actor_name, allow, record, time};
use crate::attachments::{Given, Small, may_be_drawn};
use crate::records::load;
use crate::refusal::Refusal;
use crate::storage::{ReadTx, StorageError, StoredContent, StoredRecord};
use chrono::{DateTime, Utc};
use roundsman_model::attachment::{Attachment, Sort};
use roundsman_model::visit::Visit;
use roundsman_model::{Entity, UserId};
use uuid::Uuid;

/// Something that is attached to a visit or a customer.
#[derive(Clone, Debug)]
pub struct AttachmentView {
    /// The id.
    pub id: Uuid,
    /// What it shows.
    pub sort: Sort,
    /// Its media type, as the phone said.
    pub media_type: String,
    /// Bytes of its content.
    pub size: u64,
    /// When it was added, by the phone's clock.
    pub added_at: DateTime<Utc>,
    /// Who added it.
    pub author: String,
    /// Whether all of its content is here.
    pub stored: bool,
    /// Whether a small picture of it can be asked for: it is a photo in a format that is drawn. That it is damaged
    /// shows once it is drawn.
    pub small: bool,
}

impl Admin {
    /// What is attached to a visit, in the order in which its records came.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] if there is no such visit.
    pub fn attachments_of_visit(&self, visit: Uuid) -> Result<Vec<AttachmentView>, AdminError> {
        let tx = self.app.storage.read()?;
        load(tx.as_ref(), Visit::DEF, visit)?.ok_or(AdminError::NotFound)?;
        tx.attachments_of(visit)?.into_iter().map(|stored| view(tx.as_ref(), stored)).collect()
    }

    /// Opens the content of an attachment for an administrator. That they looked at it is recorded.
    pub(crate) fn open_attachment(
        &self,
        actor: UserId,
        attachment: Uuid,
    ) -> Result<(AttachmentView, Given), AdminError> {
        self.look(actor, attachment, "view_attachment", |view, content| {
            Ok((view, Given::stored(&self.app, content, 0)?))
        })
    }

    /// Opens the small picture of a photo for an administrator. That they looked at it is recorded too: it shows what
    /// the photo shows.
    pub(crate) fn open_thumbnail(&self, actor: UserId, attachment: Uuid) -> Result<Small, AdminError> {
        self.look(actor, attachment, "view_thumbnail", |view, content| {
            Small::stored(&self.app, content.filter(|_| view.small))
        })
    }

    fn look<T>(
        &self,
        actor: UserId,
        attachment: Uuid,
        act: &str,
        open: impl FnOnce(AttachmentView, Option<StoredContent>) -> Result<T, Refusal>,
    ) -> Result<T, AdminError> {
        let mut tx = self.app.storage.write()?;
        allow(tx.as_ref(), actor)?;
        let stored = load(tx.as_ref(), Attachment::DEF, attachment)?.ok_or(AdminError::NotFound)?;
        let view = view(tx.as_ref(), stored)?;
        let opened = open(view, tx.content(attachment)?).map_err(|refusal| match refusal {
            Refusal::Storage(error) => AdminError::Storage(error),
            _ => AdminError::NotFound,
        })?;
        record(tx.as_mut(), actor, act, attachment, self.app.now())?;
        tx.commit()?;
        Ok(opened)
    }
}

fn view(tx: &dyn ReadTx, stored: StoredRecord) -> Result<AttachmentView, AdminError> {
    let damaged = |_| StorageError::Damaged("attachment");
    let fields = Attachment::DEF.admit(stored.fields).map_err(damaged)?;
    let attachment = Attachment::from_fields(stored.id, &fields).map_err(damaged)?;
    Ok(AttachmentView {
        id: attachment.id,
        sort: attachment.sort,
        size: attachment.bytes(),
        added_at: time(attachment.added_at.timestamp_millis()),
        author: actor_name(tx, UserId(attachment.author))?,
        stored: attachment.stored_at.is_some(),
        small: attachment.sort == Sort::Photo && may_be_drawn(&attachment.media_type, attachment.bytes()),
        media_type: attachment.media_type,
    })
}
