//! What can be wrong, in words for whoever runs the server.

use crate::storage::LogFault;
use roundsman_model::Bucket;
use std::fmt;
use uuid::Uuid;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The database finds its own tables or indexes damaged.
    Database,
    /// A part could not be read.
    Unreadable,
    /// A record is not what it was when it was written.
    RecordChanged,
    /// A record can't be read.
    RecordUnreadable,
    /// A record is in another bucket than its fields say.
    RecordInOtherBucket,
    /// A bucket's records don't add up to what is stored of it.
    BucketSum,
    /// A bucket's log does not end where the bucket says.
    LogEnd,
    /// A record is in a bucket whose log does not say so.
    NotLogged,
    /// A record was removed, and the log does not say so.
    RemovalNotLogged,
    /// A log says that a record is in the bucket, and it is not.
    NotThere,
    /// A log says that a record has left the bucket, and it has not.
    NotGone,
    /// The search does not find a record, or has words of one that does not stand.
    Search,
    /// The server's own audit chain is not what it was.
    ServerAudit,
    /// A device's audit chain is not what it has signed.
    DeviceAudit,
    /// An attachment is called stored, and there is nothing of it; or it is stored, and its record does not say so.
    ContentUnknown,
    /// The content of an attachment is missing.
    ContentMissing,
    /// The content of an attachment has another size.
    ContentSize,
    /// The content of an attachment is not what was sent.
    ContentChanged,
}

impl FindingKind {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Database => "the database is damaged",
            Self::Unreadable => "a part could not be read",
            Self::RecordChanged => "the record was changed past the server",
            Self::RecordUnreadable => "the record can't be read",
            Self::RecordInOtherBucket => "the record's fields say another bucket",
            Self::BucketSum => "the records don't add up to what is stored of the bucket",
            Self::LogEnd => "the log does not end where the bucket says",
            Self::NotLogged => "the record is not in the log",
            Self::RemovalNotLogged => "the removal is not in the log",
            Self::NotThere => "the log has a record that is not in the bucket",
            Self::NotGone => "the log takes away a record that is there",
            Self::Search => "the search is not in step with the records",
            Self::ServerAudit => "the server's audit chain was changed",
            Self::DeviceAudit => "the device's audit chain was changed",
            Self::ContentUnknown => "record and content disagree on what is stored",
            Self::ContentMissing => "the content is missing",
            Self::ContentSize => "the content has another size",
            Self::ContentChanged => "the content was changed",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Database | Self::Unreadable => {
                "Stop the server and copy the data folder before anything else. Then put the last good backup back, and \
                 run `after-restore`. Damage that comes again is the disk's."
            }
            Self::RecordChanged | Self::RecordUnreadable | Self::RecordInOtherBucket | Self::BucketSum => {
                "Somebody wrote to the database past the server, or the disk has changed it. Phones read such a bucket \
                 anew and raise an alert. Find out who it was; put a backup back, or write the record once more by \
                 way of the console or an import."
            }
            Self::LogEnd | Self::NotLogged | Self::RemovalNotLogged | Self::NotThere | Self::NotGone => {
                "Phones may lack such a record or keep one too long. Put a backup back, or write the record once more \
                 by way of the console or an import: that logs it anew."
            }
            Self::Search => {
                "The console's search may miss a customer. Nothing is lost: writing the record indexes it anew."
            }
            Self::ServerAudit | Self::DeviceAudit => {
                "Entries were changed, left out or replaced. Keep a copy of the database for whoever looks into it, and \
                 compare with an anchor: `audit verify --anchor`."
            }
            Self::ContentMissing => {
                "If the server was started with --attachments or --s3-bucket, say the same here: otherwise this looks in \
                 the wrong place. If not, put the file back from a backup of the attachments; the phone it was added on \
                 may have it still."
            }
            Self::ContentUnknown | Self::ContentSize | Self::ContentChanged => {
                "Put the file back from a backup of the attachments. The phone it was added on may have it still."
            }
        }
    }
}

impl From<LogFault> for FindingKind {
    fn from(fault: LogFault) -> Self {
        match fault {
            LogFault::End => Self::LogEnd,
            LogFault::NotLogged => Self::NotLogged,
            LogFault::RemovalNotLogged => Self::RemovalNotLogged,
            LogFault::NotThere => Self::NotThere,
            LogFault::NotGone => Self::NotGone,
        }
    }
}

/// One thing that is wrong. No personal data: which it is, and not what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// In which bucket.
    pub bucket: Option<Bucket>,
    /// Of which entity.
    pub entity: Option<String>,
    /// The id of the record, attachment or device.
    pub id: Option<Uuid>,
    /// A figure or a name to it.
    pub detail: Option<String>,
}

impl Finding {
    pub(super) fn detailed(kind: FindingKind, detail: String) -> Self {
        Self { kind, bucket: None, entity: None, id: None, detail: Some(detail) }
    }

    pub(super) fn bucket(kind: FindingKind, bucket: Bucket) -> Self {
        Self { kind, bucket: Some(bucket), entity: None, id: None, detail: None }
    }

    pub(super) fn record(kind: FindingKind, bucket: Bucket, entity: String, id: Uuid) -> Self {
        Self { kind, bucket: Some(bucket), entity: Some(entity), id: Some(id), detail: None }
    }
}

impl Finding {
    /// Where it is: its bucket, and what it is about; empty if it is about neither.
    pub fn place(&self) -> String {
        let about = match (&self.entity, self.id) {
            (Some(entity), Some(id)) => Some(format!("{entity} {id}")),
            (Some(entity), None) => Some(entity.clone()),
            (None, id) => id.map(|id| id.to_string()),
        };
        let bucket = self.bucket.as_ref().map(|bucket| bucket.0.clone());
        bucket.into_iter().chain(about).collect::<Vec<_>>().join(", ")
    }
}

/// One line: what, then where.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.words())?;
        let place = self.place();
        if !place.is_empty() {
            write!(f, ", {place}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}
