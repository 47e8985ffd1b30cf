//! Files that were cut, changed, exchanged or removed behind the app's back.

use crate::kit::{CHUNK, Session, content, phone};
use roundsman_core::Error;
use roundsman_core::attachments::{Attachment, AttachmentError};
use std::fs;

fn error(session: &Session, attachment: &Attachment) -> AttachmentError {
    match session.all(attachment) {
        Err(Error::Attachment(error)) => error,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it opens"),
    }
}

#[test]
fn a_file_that_was_cut_or_lengthened_is_an_error_and_is_left_alone() {
    let phone = phone();
    let session = Session::open(&phone);
    let (attachment, path) = session.file_of_next(&content(2 * CHUNK + 100));
    let other = session.add(b"another").unwrap();
    let file = fs::read(&path).unwrap();
    for cut in [0, 3, 48, 49, 50, CHUNK, file.len() / 2, file.len() - 1] {
        fs::write(&path, &file[..cut]).unwrap();
        assert_eq!(error(&session, &attachment), AttachmentError::Truncated, "cut at {cut}");
        assert_eq!(fs::read(&path).unwrap().len(), cut);
    }
    fs::write(&path, [file.as_slice(), b"more"].concat()).unwrap();
    assert_eq!(error(&session, &attachment), AttachmentError::Damaged);
    assert_eq!(session.all(&other).unwrap(), b"another");
    fs::write(&path, &file).unwrap();
    assert!(session.all(&attachment).unwrap() == content(2 * CHUNK + 100), "put back, it opens again");
}

#[test]
fn a_changed_byte_is_an_error_where_it_is_read_and_nowhere_else() {
    let phone = phone();
    let session = Session::open(&phone);
    let whole = content(3 * CHUNK);
    let (attachment, path) = session.file_of_next(&whole);
    let mut file = fs::read(&path).unwrap();
    let last = file.len() - 1;
    file[last] ^= 1;
    fs::write(&path, &file).unwrap();
    let reader = session.attachments.open(attachment.id).unwrap();
    let mut into = vec![0; 10];
    assert_eq!(reader.read_at(CHUNK as u64, &mut into).unwrap(), 10);
    assert_eq!(into, whole[CHUNK..CHUNK + 10]);
    let damaged = reader.read_at(3 * CHUNK as u64 - 20, &mut into);
    assert!(matches!(damaged, Err(Error::Attachment(AttachmentError::Damaged))));
    file[4] = 2;
    fs::write(&path, &file).unwrap();
    assert_eq!(error(&session, &attachment), AttachmentError::Newer);
}

#[test]
fn a_file_in_the_place_of_another_is_an_error() {
    let phone = phone();
    let session = Session::open(&phone);
    let ((one, first), (two, second)) = (session.file_of_next(b"one"), session.file_of_next(b"two"));
    let (a, b) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
    fs::write(&first, &b).unwrap();
    fs::write(&second, &a).unwrap();
    assert_eq!(error(&session, &one), AttachmentError::OtherFile);
    assert_eq!(error(&session, &two), AttachmentError::OtherFile);
    // Nor does it help to give it the other's header.
    fs::write(&first, [&a[..49], &b[49..]].concat()).unwrap();
    assert_eq!(error(&session, &one), AttachmentError::Damaged);
}

#[test]
fn a_file_that_is_gone_is_reported_and_its_attachment_can_be_removed() {
    let phone = phone();
    let session = Session::open(&phone);
    let (attachment, path) = session.file_of_next(b"one");
    let other = session.add(b"another").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(session.attachments.tidy().unwrap().missing, [attachment.id]);
    assert_eq!(error(&session, &attachment), AttachmentError::Missing);
    session.attachments.remove(attachment.id).unwrap();
    assert_eq!(session.listed(), [other]);
    assert!(session.attachments.tidy().unwrap().missing.is_empty());
}
