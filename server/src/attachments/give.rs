//! Giving content out.

use super::Contents;
use super::seal;
use crate::admin::DeviceStatus;
use crate::app::{App, buckets};
use crate::records::load;
use crate::refusal::Refusal;
use crate::storage::StoredContent;
use crate::tokens;
use bytes::Bytes;
use roundsman_model::Entity;
use roundsman_model::attachment::Attachment;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::attachment::PART;
use roundsman_protocol::keys::DeviceKey;
use uuid::Uuid;

/// Content that is read part by part.
pub(crate) struct Given {
    contents: Contents,
    content: StoredContent,
    at: u64,
}

/// What a device may have of an attachment: everything from an offset on, if its record is in the user's buckets.
pub(crate) fn give(
    app: &App,
    key: &DeviceKey,
    access: &str,
    attachment: Uuid,
    offset: u64,
) -> Result<Given, Refusal> {
    Given::stored(app, allowed(app, key, access, attachment)?, offset)
}

/// What there is of the content of an attachment that a device may have.
pub(super) fn allowed(
    app: &App,
    key: &DeviceKey,
    access: &str,
    attachment: Uuid,
) -> Result<Option<StoredContent>, Refusal> {
    let tx = app.storage.read()?;
    let device = tokens::authorise(tx.as_ref(), key, access, app.now().timestamp_millis())?;
    if device.status != DeviceStatus::Active {
        return Err(ErrorCode::DeviceBlocked.into());
    }
    let user = tx.user(device.user)?.ok_or(ErrorCode::TokenInvalid)?;
    let record = load(tx.as_ref(), Attachment::DEF, attachment)?.ok_or(ErrorCode::NotFound)?;
    if !buckets(user.id, &user.territories).contains(&record.bucket) {
        return Err(ErrorCode::NotFound.into());
    }
    Ok(tx.content(attachment)?)
}

impl Given {
    /// The content of an attachment, if all of it is there.
    pub(crate) fn stored(app: &App, content: Option<StoredContent>, offset: u64) -> Result<Self, Refusal> {
        let content = content.filter(|content| content.stored).ok_or(ErrorCode::NotFound)?;
        if offset > content.size {
            return Err(ErrorCode::Malformed.into());
        }
        Ok(Self { contents: app.contents.clone(), content, at: offset })
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.content.size - self.at
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.left() == 0 {
            return Ok(None);
        }
        let number = self.at / PART;
        debug_assert!(number < seal::count(self.content.size));
        let part = self.contents.part(&self.content, number).await?;
        let from = usize::try_from(self.at % PART).unwrap_or(usize::MAX);
        let rest = part.get(from..).filter(|rest| !rest.is_empty()).ok_or(ErrorCode::Internal)?;
        self.at += rest.len() as u64;
        Ok(Some(Bytes::copy_from_slice(rest)))
    }
}
