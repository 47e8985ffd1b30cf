//! A photo's life on a real phone: taken, read in parts, closed with the vault, given another key, and gone with a wipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::attachments::{AttachedTo, Attachment, AttachmentKind, NewAttachment};
use roundsman_core::{Client, Error, State};
use roundsman_tests::canary::{Canary, files, scan};
use roundsman_tests::rig::{Rig, passcode};
use uuid::Uuid;

const CANARY: &str = "canary-in-a-photo-of-a-shelf";

/// 5 MB in which no two parts are alike, with the canary once in each block.
fn photo() -> Vec<u8> {
    let block = |n: u32| [CANARY.as_bytes(), &n.to_le_bytes(), &[b' '; 68]].concat();
    (0..50_000).flat_map(block).collect()
}

fn add(phone: &Client, visit: Uuid, content: &[u8]) -> Attachment {
    let of = AttachedTo::Visit(visit);
    let new = NewAttachment::new(of, AttachmentKind::Photo, "image/jpeg", content.len() as u64);
    phone.attachments().unwrap().add(&new, &mut &content[..]).unwrap()
}

/// Reads ranges of an attachment, and all of it.
fn assert_reads(phone: &Client, attachment: &Attachment, content: &[u8]) {
    let reader = phone.attachments().unwrap().open(attachment.id).unwrap();
    assert_eq!(reader.size(), content.len() as u64);
    for (from, length) in [(0, 10), (4_999_990, 100), (65_530, 20), (1_234_567, 200_000), (0, 6_000_000)] {
        let mut into = vec![0; length];
        let count = reader.read_at(from as u64, &mut into).unwrap();
        assert!(into[..count] == content[from..(from + length).min(content.len())], "{length} from {from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_is_sealed_on_disk_closes_with_the_vault_and_is_gone_after_a_wipe() {
    let rig = Rig::start().await;
    rig.import_stores(3);
    let phone = rig.enrolled("ana").await;
    let vault = rig.disk.path().join("ana/vault");
    let store = phone.customers().unwrap().list(None, 1).unwrap().remove(0);
    let visit = phone.visits().unwrap().start(store.id, None).unwrap();
    let content = photo();
    assert_eq!(content.len(), 5_000_000);
    let attachment = add(&phone, visit.id, &content);
    let look = |when: &str| {
        let canary = Canary { what: "content".to_owned(), text: CANARY.to_owned() };
        let found = scan(&vault, &[canary]).unwrap();
        assert!(found.leaks.is_empty() && !found.files.is_empty(), "{when}: {:?}", found.leaks);
        let sealed = files(&vault.join("att")).len();
        println!("{when}: {} files, {sealed} of them attachments, no canary found", files(&vault).len());
    };
    look("open");
    assert_reads(&phone, &attachment, &content);
    phone.sync(&()).await.unwrap();

    let reader = phone.attachments().unwrap().open(attachment.id).unwrap();
    let held = phone.attachments().unwrap();
    phone.lock();
    assert!(matches!(reader.read_at(0, &mut [0; 10]), Err(Error::Locked)));
    assert!(matches!(held.of(visit.id), Err(Error::Locked)));
    assert!(matches!(phone.attachments(), Err(Error::Locked)));
    look("closed");
    // What a stop in the middle of an addition leaves goes with the next unlock.
    let stray = vault.join("att/00/00000000000000000000000000000000.new");
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, b"half of a file").unwrap();
    phone.unlock(&passcode()).unwrap();
    assert!(!stray.exists());
    assert!(matches!(reader.read_at(0, &mut [0; 10]), Err(Error::Locked)), "a reader stays closed");
    assert_reads(&phone, &attachment, &content);

    let sealed: Vec<_> = files(&vault.join("att"));
    let before = std::fs::read(&sealed[0]).unwrap();
    phone.rotate_vault_key(&passcode()).unwrap();
    assert_reads(&phone, &attachment, &content);
    assert!(std::fs::read(&sealed[0]).unwrap() == before, "a new key of the vault rewrites no file");
    phone.lock();
    phone.unlock(&passcode()).unwrap();
    assert_reads(&phone, &attachment, &content);
    look("with a new key");

    let other = add(&phone, visit.id, b"a small one");
    phone.attachments().unwrap().remove(attachment.id).unwrap();
    let listed = phone.attachments().unwrap().of(visit.id).unwrap();
    assert_eq!(listed, [other]);
    assert_eq!(files(&vault.join("att")).len(), 2, "its file and its key");

    rig.wipe(rig.device("ana").id, "lost");
    phone.check_in().await.unwrap();
    assert_eq!(phone.state(), State::Wiped);
    assert!(!vault.join("att").exists(), "nothing is left, not even the folders' names");
    look("wiped");
    assert!(matches!(held.of(visit.id), Err(Error::Locked)));
}
