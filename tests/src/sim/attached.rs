//! What reps attach to visits and customers: how it comes about, and what must hold of it.

use super::invariants::Buckets;
use super::journal::{Attached, Book};
use super::operations::{Done, name};
use super::phone::Phone;
use super::world::World;
use roundsman_core::attachments::{AttachedTo, AttachmentKind, Attachments, NewAttachment};
use roundsman_core::simulation;
use roundsman_core::{Error, State};
use roundsman_model::attachment::Attachment;
use roundsman_model::visit::Visit;
use roundsman_model::{Entity, Value};
use roundsman_protocol::attachment::PART;
use std::sync::Arc;
use tokio::runtime::Builder;
use uuid::Uuid;

impl World {
    /// Something is attached to a visit of the rep's, or to a customer.
    pub(super) fn attach(&mut self, slot: usize) -> Result<Done, Error> {
        let (text, lot, length) = (self.text(), self.chance.below(100), self.chance.below(4_000));
        let size = if lot % 20 == 0 { PART * (lot / 20) } else { 0 } + length;
        let customer = self.some_customer(slot)?;
        let phone = &self.phones[slot];
        let mut visits = simulation::rows(&phone.client)?;
        visits.retain(|row| row.entity == Visit::DEF.name && is(&row.fields, "rep", phone.rep.0));
        let of = match (self.chance.pick(&visits).filter(|_| lot < 70), customer) {
            (Some(visit), _) => AttachedTo::Visit(visit.id),
            (None, Some(customer)) => AttachedTo::Customer(customer.id),
            (None, None) => return Ok(Done::Nothing),
        };
        let kinds = [AttachmentKind::Photo, AttachmentKind::Signature, AttachmentKind::File];
        let kind = *self.chance.pick(&kinds).unwrap_or(&AttachmentKind::File);
        let content: Arc<[u8]> = text.bytes().cycle().take(size as usize).collect();
        let new = NewAttachment::new(of, kind, "image/jpeg", size);
        let added = self.phones[slot].client.attachments()?.add(&new, &mut &content[..])?;
        let number = self.phones[slot].number;
        // The same to the same record is there once: two that are empty are one.
        let attached = Attached { number, content, stored: false, dropped: false };
        self.journal.open().attached.entry(added.id).or_insert(attached);
        Ok(Done::Did(format!("{} to {of:?}, {size} bytes", added.id)))
    }

    /// Something that was attached is removed: by its author, or by somebody else, which the server refuses.
    pub(super) fn detach(&mut self, slot: usize, own: bool) -> Result<Done, Error> {
        let phone = &self.phones[slot];
        let mut known = simulation::rows(&phone.client)?;
        known.retain(|row| row.entity == Attachment::DEF.name);
        if own {
            known.retain(|row| is(&row.fields, "author", phone.rep.0));
        }
        let Some(row) = self.chance.pick(&known) else { return Ok(Done::Nothing) };
        let phone = &self.phones[slot];
        phone.client.attachments()?.remove(row.id)?;
        let mut book = self.journal.open();
        let here = book.attached.get_mut(&row.id).filter(|attached| attached.number == phone.number);
        if let Some(attached) = here {
            attached.dropped = true;
        }
        Ok(Done::Did(format!("attachment {}", row.id)))
    }

    /// Somebody wants to see what another phone has sent.
    pub(super) fn fetch(&mut self, slot: usize) -> String {
        let phone = &self.phones[slot];
        if phone.client.state() != State::Open {
            return "closed".to_owned();
        }
        let mut known = phone.rows();
        known.retain(|row| row.entity == Attachment::DEF.name && row.fields.contains_key("stored_at"));
        let Some(row) = self.chance.pick(&known) else { return "nothing".to_owned() };
        let phone = &self.phones[slot];
        let fetched = self.apart(phone.client.fetch_attachment(row.id, &()));
        let read = fetched.and_then(|_| read(&phone.client.attachments()?, row.id));
        let mut book = self.journal.open();
        let wanted = book.attached.get(&row.id).map(|attached| Arc::clone(&attached.content));
        match (read, wanted) {
            (Ok(content), Some(wanted)) if *content != *wanted => {
                let what = format!("phone {slot} has fetched another content of {}", row.id);
                book.find("sent_content_is_kept", what);
                what_of(row.id, &content)
            }
            (Ok(content), _) => what_of(row.id, &content),
            (Err(error), _) => format!("{} {}", row.id, name(error)),
        }
    }

    /// Waits for this on a runtime that has a thread for what is read and one for what is written meanwhile. The one of
    /// the world has one for both, on which everything happens in the same order each time; here the order does not
    /// matter.
    fn apart<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        let scopes = &self.scopes;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                scopes.enter();
                let scopes = scopes.clone();
                let runtime = Builder::new_current_thread()
                    .enable_time()
                    .max_blocking_threads(2)
                    .on_thread_start(move || scopes.enter())
                    .build()
                    .expect("a runtime");
                runtime.block_on(work)
            });
            waiting.join().expect("nothing panics")
        })
    }

    /// What was sent is at the server, what was not is on its phone still, and with a network it does not stay there.
    pub(super) async fn attached_is_kept(&self, buckets: &Buckets) {
        let office = self.office();
        let attached = self.journal.open().attached.clone();
        for (id, attached) in attached {
            let fields = buckets.values().find_map(|rows| rows.get(&id)).map(|(_, _, fields)| fields);
            let stored = fields.is_some_and(|fields| fields.contains_key("stored_at"));
            if stored {
                let content = office.content(id).await.expect("the server runs");
                self.content_is_right(id, &attached, content.as_deref());
            } else if attached.stored && fields.is_some() {
                self.find_content(format!("the server has said that it has {id}, and does not know of it"));
            }
            let phone = self.phones.iter().find(|phone| phone.number == attached.number);
            let wanted = is_unsent(&self.journal.open(), id, &attached);
            if let (Some(phone), false, true) = (phone, stored, wanted) {
                self.is_on_its_phone(phone, id, &attached);
                if fields.is_some() {
                    let what = format!("phone {} does not send {id}", phone.slot);
                    self.journal.open().find("heals", what);
                }
            }
        }
    }

    fn content_is_right(&self, id: Uuid, attached: &Attached, content: Option<&[u8]>) {
        if content != Some(&*attached.content) {
            let length = content.map(<[u8]>::len);
            let of = attached.content.len();
            self.find_content(format!("the server has {length:?} bytes of {id}, which has {of}, or others"));
        }
    }

    fn find_content(&self, what: String) {
        self.journal.open().find("sent_content_is_kept", what);
    }

    fn is_on_its_phone(&self, phone: &Phone, id: Uuid, attached: &Attached) {
        let what = match phone.client.attachments().and_then(|attachments| read(&attachments, id)) {
            Ok(content) if content == *attached.content => return,
            Ok(_) => "it is another".to_owned(),
            Err(error) => name(error),
        };
        let what = format!("phone {} has not sent the content of {id}: {what}", phone.slot);
        self.journal.open().find("unsent_content_stays", what);
    }

    /// What a wiped phone had not sent is with the organisation: filed where its record stands, else waiting for that.
    pub(super) async fn content_is_rescued(&self, phone: &Phone) {
        let office = self.office();
        let admin = office.admin().expect("the server runs");
        admin.file_rescued_photos().await.expect("the server files what it has");
        let standing = admin.rescue_standing(phone.device).expect("the server knows its devices").photos;
        let buckets = self.buckets();
        let mut unsent = self.journal.open().attached.clone();
        unsent.retain(|_, attached| attached.number == phone.number);
        // What nobody wants any more may have been handed over in part, in a lock before.
        let given_up = unsent
            .iter()
            .filter(|(id, attached)| !attached.stored && !is_unsent(&self.journal.open(), **id, attached));
        let given_up = given_up.count() as u64;
        unsent.retain(|id, attached| is_unsent(&self.journal.open(), *id, attached));
        let mut waiting = 0;
        let mut found = Vec::new();
        for (id, attached) in &unsent {
            if buckets.values().all(|rows| !rows.contains_key(id)) {
                waiting += 1;
                continue;
            }
            let content = office.content(*id).await.expect("the server runs");
            if content.as_deref() != Some(&*attached.content) {
                found.push(format!("the content of {id} is not filed, or another is; {standing:?}"));
            }
        }
        if standing.waiting < waiting || standing.sealed + standing.damaged > 0 || standing.coming > given_up
        {
            found.push(format!("{waiting} contents have no record yet; {standing:?}"));
        }
        let mut book = self.journal.open();
        for what in found {
            book.find("wiped_content_is_rescued", format!("phone {}: {what}", phone.slot));
        }
        book.counted.filed += standing.filed + standing.known;
    }
}

/// Whether somebody still waits for this, which the server has not acknowledged. Nobody does once the rep has removed it
/// or given up its record, or somebody has removed it: then the phone may have let it go.
fn is_unsent(book: &Book, id: Uuid, attached: &Attached) -> bool {
    let turned = book.turned().contains_key(&id);
    !(attached.stored || attached.dropped || turned || book.discarded.contains(&id))
}

fn read(attachments: &Attachments, id: Uuid) -> Result<Vec<u8>, Error> {
    let reader = attachments.open(id)?;
    let mut content = vec![0; reader.size() as usize];
    let mut at = 0;
    while at < content.len() {
        match reader.read_at(at as u64, &mut content[at..])? {
            0 => break,
            count => at += count,
        }
    }
    content.truncate(at);
    Ok(content)
}

fn what_of(id: Uuid, content: &[u8]) -> String {
    format!("{id}, {} bytes", content.len())
}

fn is(fields: &roundsman_model::Fields, field: &str, id: Uuid) -> bool {
    fields.get(field).and_then(Value::as_id) == Some(id)
}
