//! The content of attachments: whether it lies where it should, and is what was sent.

use super::{Finding, FindingKind, Part, Progress, Report};
use crate::app::App;
use crate::attachments::Look;
use crate::refusal::Refusal;
use crate::storage::{ReadTx, StorageError, StoredContent};
use roundsman_model::Entity;
use roundsman_model::attachment::Attachment;
use std::io;
use tokio::runtime::Builder;
use uuid::Uuid;

/// Contents that are looked up at once.
const SLICE: usize = 32;

/// Looks for every content that is stored, and reads it through if `whole` says so. Blocks, also where async code runs.
pub(super) fn check(
    app: &App,
    whole: bool,
    report: &mut Report,
    progress: &mut Progress<'_>,
) -> Result<(), StorageError> {
    let mut last = Uuid::nil();
    loop {
        progress(Part::Contents, report.checked.contents);
        let page = app.storage.read().and_then(|tx| tx.contents_after(last, SLICE));
        let page = match page {
            Ok(page) => page,
            Err(error) => return report.survive(Part::Contents, Err(error)),
        };
        let Some(end) = page.last() else { return Ok(()) };
        last = end.attachment;
        for (content, looked) in looks(app, page, whole)? {
            let found = judge(app, &content, looked, report);
            report.survive(Part::Contents, found)?;
        }
    }
}

/// Asks the object storage about these, on a thread with a runtime of its own: whoever calls may have one or none.
fn looks(
    app: &App,
    page: Vec<StoredContent>,
    whole: bool,
) -> Result<Vec<(StoredContent, Result<Look, Refusal>)>, StorageError> {
    let failed = |error: io::Error| StorageError::Database(Box::new(error));
    let work = move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let mut looked = Vec::with_capacity(page.len());
            for content in page {
                let look = app.contents.look(&content, whole).await;
                looked.push((content, look));
            }
            looked
        }))
    };
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(io::Error::other("the look at attachments was cut short"))).map_err(failed)
}

fn judge(
    app: &App,
    content: &StoredContent,
    looked: Result<Look, Refusal>,
    report: &mut Report,
) -> Result<(), StorageError> {
    report.checked.contents += 1;
    let tx = app.storage.read()?;
    // What was removed meanwhile is no finding.
    let stands = tx.content(content.attachment)?;
    if stands.is_none_or(|stands| stands.object != content.object) {
        return Ok(());
    }
    let Some((record, bytes, hash)) = described(tx.as_ref(), content.attachment)? else { return Ok(()) };
    let mut wrong = |kind| {
        let entity = Some(Attachment::DEF.name.to_owned());
        let id = Some(content.attachment);
        report.add(Finding { kind, bucket: Some(record.clone()), entity, id, detail: None });
    };
    match looked {
        Ok(Look::Missing) => wrong(FindingKind::ContentMissing),
        Ok(Look::OtherSize) => wrong(FindingKind::ContentSize),
        Ok(Look::Changed) => wrong(FindingKind::ContentChanged),
        Ok(Look::There | Look::Hash(_)) if content.size != bytes => wrong(FindingKind::ContentSize),
        Ok(Look::There) => {}
        Ok(Look::Hash(found)) if Some(found) != hash => wrong(FindingKind::ContentChanged),
        Ok(Look::Hash(_)) => report.checked.content_bytes += content.size,
        // The object storage fails: what lies there can't be told.
        Err(_) => wrong(FindingKind::Unreadable),
    }
    Ok(())
}

/// The bucket of an attachment, and the size and hash that its record says; of one that was removed too, as long as it can
/// be brought back.
fn described(
    tx: &dyn ReadTx,
    attachment: Uuid,
) -> Result<Option<(roundsman_model::Bucket, u64, Option<[u8; 32]>)>, StorageError> {
    let def = Attachment::DEF;
    let standing = tx.record(def.name, attachment)?.filter(|record| !record.removed);
    let record = match standing {
        Some(record) => Some(record),
        None => tx.removal(def.name, attachment)?.map(|removal| removal.record),
    };
    let Some(record) = record else { return Ok(None) };
    let damaged = |_| StorageError::Damaged("attachment");
    let fields = def.admit(record.fields).map_err(damaged)?;
    let described = Attachment::from_fields(attachment, &fields).map_err(damaged)?;
    Ok(Some((record.bucket, described.bytes(), described.hash())))
}
