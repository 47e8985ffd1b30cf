//! A fault at every call to the disk while one is added or removed.

use crate::kit::{CHUNK, Session, content, phone};
use crate::vault_kit::{Fault, Phone};
use roundsman_core::Error;
use roundsman_core::attachments::{AttachmentError, Tidied};
use std::io::{self, Read};

const FAULTS: [Fault; 4] = [Fault::Once, Fault::Kill, Fault::PowerCut, Fault::Full];

/// Runs `act` on copies of a phone with a fault at its first call to the disk, its second, and so on; then starts the
/// app again on a good disk and looks with `check`. Returns the number of faults.
fn sweep<T>(
    template: &Phone,
    act: impl Fn(&Session) -> Result<T, Error>,
    check: impl Fn(&str, &Session, Result<T, Error>, Fault),
) -> usize {
    let mut faults = 0;
    for fault in FAULTS {
        for number in 0.. {
            let phone = template.copy();
            let session = Session::open(&phone);
            phone.disk.fail_at(number, fault);
            let outcome = act(&session);
            let reached = phone.disk.failed();
            drop(session);
            phone.heal();
            let session = Session::open(&phone);
            check(&format!("{fault:?} at call {number}"), &session, outcome, fault);
            if !reached {
                break;
            }
            faults += 1;
        }
    }
    faults
}

#[test]
fn what_is_added_with_a_fault_is_there_as_a_whole_or_not_at_all() {
    let (template, content) = (phone(), content(2 * CHUNK + 5));
    let faults = sweep(
        &template,
        |session| session.add(&content),
        |what, session, outcome, fault| {
            let listed = session.listed();
            match &outcome {
                Ok(added) => assert_eq!(listed, std::slice::from_ref(added), "{what}"),
                Err(error) => {
                    assert!(listed.len() <= 1, "{what}");
                    if fault == Fault::Full {
                        // The file's own disk, or that of the outbox, which its record goes to.
                        let full = matches!(
                            error,
                            Error::Attachment(AttachmentError::Full)
                                | Error::Store(roundsman_core::store::StoreError::Full)
                        );
                        assert!(full, "{what}: {error:?}");
                    }
                }
            }
            for attachment in &listed {
                assert!(session.all(attachment).unwrap() == content, "{what}: other content");
            }
            assert_eq!(session.files().len(), listed.len(), "{what}: files that belong to nothing");
            assert!(session.has_keys(), "{what}: it could not be handed over");
            // The rep tries again, and has it once.
            let again = session.add(&content).unwrap();
            assert_eq!(session.listed(), [again], "{what}");
            assert_eq!(session.files().len(), 1, "{what}");
        },
    );
    assert!(faults >= 30, "{faults}");
}

#[test]
fn what_is_removed_with_a_fault_is_there_as_a_whole_or_gone() {
    let (template, content) = (phone(), content(CHUNK + 5));
    let session = Session::open(&template);
    let attachment = session.add(&content).unwrap();
    let kept = session.add(b"another").unwrap();
    drop(session);
    let faults = sweep(
        &template,
        |session| session.attachments.remove(attachment.id),
        |what, session, outcome, _| {
            let listed = session.listed();
            assert!(outcome.is_err() || listed == [kept.clone()], "{what}: the removal was confirmed");
            if listed.contains(&attachment) {
                assert!(session.all(&attachment).unwrap() == content, "{what}: it is half there");
            }
            assert_eq!(session.all(&kept).unwrap(), b"another", "{what}");
            assert_eq!(session.files().len(), listed.len(), "{what}: files that belong to nothing");
            assert!(session.has_keys(), "{what}: it could not be handed over");
        },
    );
    assert!(faults >= 3, "{faults}");
}

#[test]
fn the_folder_is_tidied_whatever_fails_meanwhile() {
    let template = phone();
    let session = Session::open(&template);
    let (kept, _) = session.file_of_next(b"kept");
    let (gone, path) = session.file_of_next(b"gone");
    let file = std::fs::read(&path).unwrap();
    session.attachments.remove(gone.id).unwrap();
    drop(session);
    let faults = sweep(
        &template,
        |session| {
            // As a stop before the end of a removal and of an addition leaves it.
            std::fs::write(&path, &file).unwrap();
            std::fs::write(path.with_extension("new"), &file).unwrap();
            std::fs::write(path.with_extension("key"), b"torn").unwrap();
            std::fs::write(path.with_extension("key.new"), b"torn").unwrap();
            let strange = session.app.vault.attachments_path().join("stray");
            std::fs::write(strange, b"x").unwrap();
            session.attachments.tidy()
        },
        |what, session, _, _| {
            assert_eq!(session.files().len(), 1, "{what}");
            assert!(session.has_keys(), "{what}");
            assert_eq!(session.all(&kept).unwrap(), b"kept", "{what}");
        },
    );
    assert!(faults >= 8, "{faults}");
}

#[test]
fn tidying_while_something_is_added_takes_nothing_away() {
    let phone = phone();
    let session = Session::open(&phone);
    let content = content(3 * CHUNK);
    let tidy = || assert_eq!(session.attachments.tidy().unwrap(), Tidied::default());
    let mut tidies = Tidying { content: &content, tidy: &tidy };
    let attachment = session.attachments.add(&session.photo(content.len()), &mut tidies).unwrap();
    tidy();
    assert!(session.all(&attachment).unwrap() == content);
}

/// Content that has the folder tidied whenever some of it is read.
struct Tidying<'a> {
    content: &'a [u8],
    tidy: &'a dyn Fn(),
}

impl Read for Tidying<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.tidy)();
        self.content.read(into)
    }
}
