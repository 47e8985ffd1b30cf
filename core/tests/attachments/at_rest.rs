//! What an attachment is while nothing goes wrong: whole, bounded, closed with the vault, and never in the clear.

use crate::kit::{CHUNK, Session, content, holding, phone};
use proptest::prelude::*;
use roundsman_core::Error;
use roundsman_core::attachments::{
    AttachedTo, AttachmentError, AttachmentKind, AttachmentLimits, NewAttachment,
};
use std::io::{self, Read, Seek, SeekFrom};
use uuid::Uuid;

fn refusal<T>(outcome: Result<T, Error>) -> AttachmentError {
    match outcome {
        Err(Error::Attachment(error)) => error,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was done"),
    }
}

#[test]
fn what_was_attached_is_listed_and_read_after_a_restart() {
    let phone = phone();
    let session = Session::open(&phone);
    let whole = content(3 * CHUNK + 1);
    let attachment = session.add(&whole).unwrap();
    assert_eq!((attachment.size, attachment.media_type.as_str()), (3 * CHUNK as u64 + 1, "image/jpeg"));
    assert_eq!(
        (attachment.kind, attachment.of),
        (AttachmentKind::Photo, AttachedTo::Customer(session.customer))
    );
    let empty = session.add(&[]).unwrap();
    session.store.close();
    drop(session);
    let session = Session::open(&phone);
    assert_eq!(session.listed(), [attachment.clone(), empty.clone()]);
    assert_eq!(session.attachments.get(attachment.id).unwrap().as_ref(), Some(&attachment));
    assert!(session.all(&attachment).unwrap() == whole);
    assert_eq!(session.all(&empty).unwrap(), b"");
    session.store.check().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_range_is_what_was_attached(
        size in 0..=3 * CHUNK + 1,
        ranges in prop::collection::vec((0..=3 * CHUNK + 10, 0..=CHUNK + 10), 8),
    ) {
        let phone = phone();
        let session = Session::open(&phone);
        let whole = content(size);
        let attachment = session.add(&whole).unwrap();
        let mut reader = session.attachments.open(attachment.id).unwrap();
        for (from, length) in ranges {
            let expected = &whole[from.min(size)..(from + length).min(size)];
            let mut into = vec![0; length];
            let count = reader.read_at(from as u64, &mut into).unwrap();
            prop_assert_eq!(&into[..count], expected);
            reader.seek(SeekFrom::Start(from as u64)).unwrap();
            let mut read = Vec::new();
            reader.by_ref().take(length as u64).read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read[..], expected);
        }
    }
}

#[test]
fn a_reader_can_be_sought_from_either_end_and_never_before_the_start() {
    let phone = phone();
    let session = Session::open(&phone);
    let attachment = session.add(b"0123456789").unwrap();
    let mut reader = session.attachments.open(attachment.id).unwrap();
    assert_eq!(reader.size(), 10);
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 7);
    assert_eq!(reader.seek(SeekFrom::Current(-2)).unwrap(), 5);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "56789");
    assert!(reader.seek(SeekFrom::Current(-11)).is_err());
    assert_eq!(reader.read_at(u64::MAX, &mut [0; 4]).unwrap(), 0);
}

#[test]
fn no_file_holds_what_was_attached_and_names_say_nothing() {
    let phone = phone();
    let session = Session::open(&phone);
    let whole = b"canary-in-a-photo ".repeat(10_000);
    let attachment = session.add(&whole).unwrap();
    assert_eq!(holding(&phone, b"canary"), [] as [std::path::PathBuf; 0], "open");
    for path in session.files() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(Uuid::try_parse(name).is_ok() && name != attachment.id.simple().to_string());
        assert_eq!(path.parent().unwrap().file_name().unwrap().to_str().unwrap(), &name[..2]);
    }
    let reader = session.attachments.open(attachment.id).unwrap();
    reader.read_at(0, &mut [0; 100]).unwrap();
    session.store.close();
    assert_eq!(holding(&phone, b"canary"), [] as [std::path::PathBuf; 0], "closed");
}

#[test]
fn what_is_too_large_or_has_no_room_is_refused_before_anything_is_written() {
    let phone = phone();
    let limits = AttachmentLimits { one: 1000, all: 2500 };
    let session = Session::limited(&phone, limits);
    assert_eq!(refusal(session.add(&content(1001))), AttachmentError::TooLarge { most: 1000 });
    assert_eq!(session.files().len(), 0);
    let first = session.add(&content(1000)).unwrap();
    session.add(&content(999)).unwrap();
    let left = session.attachments.room().unwrap();
    assert!(left < 500, "{left}");
    // Nobody reads what will not be kept.
    let refused = session.attachments.add(&session.photo(998), &mut Broken);
    assert_eq!(refusal(refused), AttachmentError::QuotaReached { left });
    assert_eq!(session.files().len(), 2);
    session.attachments.remove(first.id).unwrap();
    session.add(&content(998)).unwrap();
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn content_that_is_not_as_long_as_was_said_or_can_not_be_read_is_not_attached() {
    let phone = phone();
    let session = Session::open(&phone);
    let whole = content(CHUNK + 7);
    for said in [whole.len() + 1, whole.len() - 1, 0] {
        let refused = session.attachments.add(&session.photo(said), &mut &whole[..]);
        assert_eq!(refusal(refused), AttachmentError::OtherSize, "{said}");
    }
    let refused = session.attachments.add(&session.photo(whole.len()), &mut (&whole[..10]).chain(Broken));
    assert_eq!(refusal(refused), AttachmentError::Content { kind: io::ErrorKind::ConnectionReset });
    assert_eq!((session.listed().len(), session.files().len()), (0, 0));
}

#[test]
fn only_what_is_there_can_have_attachments_of_a_named_type() {
    let phone = phone();
    let session = Session::open(&phone);
    for of in [AttachedTo::Visit(session.customer), AttachedTo::Customer(Uuid::from_u128(5))] {
        let photo = NewAttachment::new(of, AttachmentKind::File, "text/plain", 1);
        assert!(matches!(session.attachments.add(&photo, &mut &b"x"[..]), Err(Error::NotFound)));
    }
    for media_type in ["", "jpeg", "/jpeg", "image/", "image/jpeg\n", &format!("a/{}", "b".repeat(300))] {
        let of = AttachedTo::Customer(session.customer);
        let photo = NewAttachment::new(of, AttachmentKind::Photo, media_type, 1);
        let refused = session.attachments.add(&photo, &mut &b"x"[..]);
        assert_eq!(refusal(refused), AttachmentError::MediaType, "{media_type:?}");
    }
    assert!(matches!(session.attachments.open(Uuid::from_u128(5)), Err(Error::NotFound)));
    session.attachments.remove(Uuid::from_u128(5)).unwrap();
}

#[test]
fn the_same_content_of_a_record_is_there_once_for_each_kind() {
    let phone = phone();
    let session = Session::open(&phone);
    let first = session.add(b"the same").unwrap();
    assert_eq!(session.add(b"the same").unwrap(), first);
    let mut signature = session.photo(8);
    signature.kind = AttachmentKind::Signature;
    let signature = session.attachments.add(&signature, &mut &b"the same"[..]).unwrap();
    assert_ne!(signature.id, first.id);
    assert_eq!(signature.content_id, first.content_id);
    assert_ne!(session.add(b"other").unwrap().content_id, first.content_id);
    assert_eq!(session.files().len(), 3);
}

#[test]
fn a_reader_that_is_open_when_the_vault_closes_reads_nothing_more() {
    let phone = phone();
    let session = Session::open(&phone);
    let attachment = session.add(&content(2 * CHUNK)).unwrap();
    let mut reader = session.attachments.open(attachment.id).unwrap();
    let mut into = [7; 10];
    reader.read_at(0, &mut into).unwrap();
    session.attachments.close();
    // What it has read before, what it has not, and nothing at all.
    for (at, length) in [(0, 10), (CHUNK as u64, 10), (0, 0)] {
        assert!(matches!(reader.read_at(at, &mut into[..length]), Err(Error::Locked)), "{at} {length}");
    }
    let error = reader.read(&mut into).unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::Locked)));
    assert!(matches!(session.attachments.open(attachment.id), Err(Error::Locked)));
}

#[test]
fn what_is_being_added_when_the_vault_closes_is_not_attached() {
    let phone = phone();
    let session = Session::open(&phone);
    let whole = content(3 * CHUNK);
    let mut closes = Closing { content: &whole, after: CHUNK, close: &|| session.attachments.close() };
    let refused = session.attachments.add(&session.photo(whole.len()), &mut closes);
    assert!(matches!(refused, Err(Error::Locked)), "{refused:?}");
    assert_eq!(session.files().len(), 0);
    drop(session);
    assert_eq!(Session::open(&phone).listed(), []);
}

/// Content that closes the vault when so much of it was read.
struct Closing<'a> {
    content: &'a [u8],
    after: usize,
    close: &'a dyn Fn(),
}

impl Read for Closing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(into)?;
        self.after = self.after.saturating_sub(count);
        if self.after == 0 {
            (self.close)();
        }
        Ok(count)
    }
}
