//! A phone with a customer to attach things to.

use crate::vault_kit::{App, Office, Phone, RIGHT};
use roundsman_core::Error;
use roundsman_core::attachments::{
    AttachedTo, Attachment, AttachmentKind, AttachmentLimits, AttachmentSeams, Attachments, NewAttachment,
};
use roundsman_core::customers::Customers;
use roundsman_core::platform::{Disk, OsEntropy, RealDisk};
use roundsman_core::rescue::SealTo;
use roundsman_core::store::Store;
use roundsman_core::vault::FileKeys;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use uuid::Uuid;

/// Content in one chunk of a file.
pub(crate) const CHUNK: usize = 64 * 1024;

/// A phone whose store has one customer.
pub(crate) static TEMPLATE: LazyLock<(Phone, Office, Uuid)> = LazyLock::new(|| {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let store = Arc::new(phone.start().unwrap().make_store(&office));
    let customers = Customers::new(store.clone(), phone.clock.clone(), Arc::new(OsEntropy));
    let customer = customers.add(&customers.draft("C1", "Corner", "nj").unwrap()).unwrap().id;
    store.close();
    (phone, office, customer)
});

/// The app with its store open.
pub(crate) struct Session {
    pub(crate) app: App,
    pub(crate) store: Arc<Store>,
    pub(crate) attachments: Attachments,
    pub(crate) customer: Uuid,
}

impl Session {
    pub(crate) fn open(phone: &Phone) -> Self {
        Self::limited(phone, AttachmentLimits::default())
    }

    pub(crate) fn limited(phone: &Phone, limits: AttachmentLimits) -> Self {
        let (_, office, customer) = &*TEMPLATE;
        let app = phone.start().unwrap();
        let store = Arc::new(app.open_store(office).unwrap());
        let files = app.unlock(RIGHT).unwrap().key.files().duplicate();
        app.vault.opened().unwrap();
        let seams = AttachmentSeams {
            dir: app.vault.attachments_path(),
            disk: phone.disk.clone(),
            entropy: Arc::new(OsEntropy),
            clock: phone.clock.clone(),
            user: roundsman_model::UserId(Uuid::nil()),
            limits,
            seal_to: app.vault.seal_to(&office.profile()).unwrap(),
        };
        let attachments = Attachments::new(store.clone(), files, seams);
        assert!(attachments.tidy().unwrap().missing.is_empty(), "no file is missing");
        Self { app, store, attachments, customer: *customer }
    }

    /// Tidies as if the phone were enrolled as another device.
    pub(crate) fn tidy_as(&self, phone: &Phone, device: roundsman_model::DeviceId) {
        let office = &TEMPLATE.1;
        let seams = AttachmentSeams {
            dir: self.app.vault.attachments_path(),
            disk: phone.disk.clone(),
            entropy: Arc::new(OsEntropy),
            clock: phone.clock.clone(),
            user: roundsman_model::UserId(Uuid::nil()),
            limits: AttachmentLimits::default(),
            seal_to: SealTo { device, ..self.app.vault.seal_to(&office.profile()).unwrap() },
        };
        let keys = FileKeys::derive(&zeroize::Zeroizing::new([1; 32]), Uuid::nil());
        Attachments::new(self.store.clone(), keys, seams).tidy().unwrap();
    }

    pub(crate) fn photo(&self, size: usize) -> NewAttachment {
        NewAttachment::new(
            AttachedTo::Customer(self.customer),
            AttachmentKind::Photo,
            "image/jpeg",
            size as u64,
        )
    }

    pub(crate) fn add(&self, content: &[u8]) -> Result<Attachment, Error> {
        self.attachments.add(&self.photo(content.len()), &mut &content[..])
    }

    pub(crate) fn all(&self, attachment: &Attachment) -> Result<Vec<u8>, Error> {
        let mut content = vec![0; attachment.size as usize + 10];
        let count = self.attachments.open(attachment.id)?.read_at(0, &mut content)?;
        content.truncate(count);
        Ok(content)
    }

    pub(crate) fn listed(&self) -> Vec<Attachment> {
        self.attachments.of(self.customer).unwrap()
    }

    /// The files of the attachments, without their sealed keys.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = RealDisk.list(&self.app.vault.attachments_path()).unwrap();
        files.retain(|path| path.extension().is_none_or(|ending| ending != "key"));
        files
    }

    /// The sealed keys beside them.
    pub(crate) fn keys(&self) -> Vec<PathBuf> {
        let mut files = RealDisk.list(&self.app.vault.attachments_path()).unwrap();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "key"));
        files
    }

    /// That each file has its key beside it, as long as nothing was sent, and that there is nothing else.
    pub(crate) fn has_keys(&self) -> bool {
        let files: Vec<_> = self.files().iter().map(|path| path.with_extension("key")).collect();
        files == self.keys()
    }

    /// The file of the attachment that is added next.
    pub(crate) fn file_of_next(&self, content: &[u8]) -> (Attachment, PathBuf) {
        let before = self.files();
        let attachment = self.add(content).unwrap();
        let mut added = self.files();
        added.retain(|path| !before.contains(path));
        assert_eq!(added.len(), 1);
        (attachment, added.remove(0))
    }
}

pub(crate) fn phone() -> Phone {
    TEMPLATE.0.copy()
}

/// Content that has no two parts alike, so that no part can stand for another.
pub(crate) fn content(size: usize) -> Vec<u8> {
    (0u32..).flat_map(u32::to_le_bytes).take(size).collect()
}

/// Every file of the phone that holds some of these bytes.
pub(crate) fn holding(phone: &Phone, part: &[u8]) -> Vec<PathBuf> {
    let mut files = RealDisk.list(&phone.dir()).unwrap();
    files.retain(|path| fs::read(path).unwrap().windows(part.len()).any(|window| window == part));
    files
}
