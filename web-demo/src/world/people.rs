//! The people who approve wipes, and the keys that the server does not hold.

use anyhow::{Context, Result};
use roundsman_server::admin::{Admin, RootChange};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::path::{Path, PathBuf};

/// Where the server leaves its first keys. In earnest this folder is moved off its machine.
const OFFLINE: &str = "keep-offline";

/// The second approver's file, made by the demo.
const SECOND: &str = "approver-ben-cole.key";

/// Who approves beside the administrator.
const SECOND_NAME: &str = "Ben Cole";

/// A key file that the demo hands to its visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedKey {
    /// The file's name.
    pub file: &'static str,
    /// Whose it is, or what it is for.
    pub whose: &'static str,
}

/// The keys that people hold.
pub(super) struct Keys {
    dir: PathBuf,
    pub(super) approvers: [KeyFile; 2],
    pub(super) rescue: KeyFile,
}

impl Keys {
    /// What a visitor can have: both approvers' keys and the rescue key.
    pub(super) const OFFERED: [OfferedKey; 3] = [
        OfferedKey { file: "approver-ada-bell.key", whose: "Ada Bell’s, to approve a wipe" },
        OfferedKey { file: SECOND, whose: "Ben Cole’s, to approve a wipe" },
        OfferedKey { file: "rescue.key", whose: "Opens unsent work of a wiped phone" },
    ];

    /// Reads the keys of a server's first start. At the demo's own first start a second approver is named: from then
    /// on a wipe takes two people.
    pub(super) fn of(server: &Path, admin: &Admin) -> Result<Self> {
        let dir = server.join(OFFLINE);
        let read = |name: &str| {
            KeyFile::read(&dir.join(name)).with_context(|| format!("the folder's {name} can't be used"))
        };
        let (first, rescue) = (read(Self::OFFERED[0].file)?, read("rescue.key")?);
        let second = if dir.join(SECOND).exists() {
            read(SECOND)?
        } else {
            let key = KeyFile::generate(KeyKind::Approver, SECOND_NAME)?;
            key.write(&dir.join(SECOND))?;
            key
        };
        if admin.root()?.approver_threshold < 2 {
            let name = |key: &KeyFile| (key.name().to_owned(), key.public());
            let change = RootChange {
                approvers: Some(vec![name(&first), name(&second)]),
                approver_threshold: Some(2),
                ..RootChange::default()
            };
            let root = read("root.key")?;
            let draft = admin.propose_root(Admin::OPERATOR, change)?;
            let signature = root.sign(roundsman_protocol::envelope::Domain::Root, &draft.payload)?;
            admin.publish_root(draft.payload, &[(root.id(), signature)])?;
        }
        Ok(Self { dir, approvers: [first, second], rescue })
    }

    /// The text of a file that is offered.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let offered = Self::OFFERED.iter().find(|key| key.file == name)?;
        std::fs::read_to_string(self.dir.join(offered.file)).ok()
    }
}
