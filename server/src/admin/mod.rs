//! What an administrator can do. Every call blocks: from async code, call it inside `spawn_blocking`.
//!
//! Each act names its actor, who must be an administrator (or [`Admin::OPERATOR`]), and is recorded in an
//! append-only log. An act that fails has changed nothing.

mod alerts;
mod approval_views;
mod attachments;
mod audit;
mod conflicts;
mod enrolments;
mod error;
mod escrow;
mod fleet;
mod freeze;
mod import;
mod people;
mod pins;
mod policy;
mod records;
mod removed;
mod rescue;
mod roots;
mod sign_in;
#[cfg(test)]
mod tests;
mod verify;
mod views;
mod wipes;
#[cfg(test)]
mod wipes_tests;

pub use crate::devices::lease::LeaseTerms;
pub use alerts::{AlertKind, AlertView, Pending};
pub use approval_views::{
    ApprovalView, ApproverView, RootChange, RootProposal, RootView, WipeProposal, WipeStanding,
};
pub use attachments::AttachmentView;
pub use audit::{AuditEntryView, AuditStatusView};
pub use conflicts::{ConflictView, Settlement};
pub use enrolments::EnrolmentView;
pub use error::{AdminError, SignInError};
pub use escrow::RestoredShares;
pub use freeze::FreezeView;
pub use import::{ImportError, ImportReport, Mapping, RowError, TerritoryFrom};
pub use people::{NewUser, SecondFactor};
pub use removed::RemovedView;
pub use rescue::{
    DeviceRescue, PhotoStanding, RescueReport, RescueStanding, RescuedView, Taken, TakenAll, WaitingView,
};
pub use views::{
    ActView, CommandView, CustomerView, DeviceDetail, DeviceStatus, DeviceView, IssuedTicket, PostureView,
    ReceiptView, Session, SignedIn, UserView, VisitView,
};

pub use crate::audit::{Anchored, ChainVerdict, Verdict};
pub use crate::rescue::RescueCounts;
pub use crate::storage::{RescueFilter, RescueState, StoredFault};

pub(crate) use people::add_first_admin;
pub(crate) use removed::forget_old;

use crate::app::App;
use crate::storage::{AdminAct, PeopleRead, WriteTx};
use chrono::{DateTime, Utc};
use roundsman_model::{Role, UserId};
use std::sync::Arc;
use uuid::Uuid;

/// An administrator's hands. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    app: Arc<App>,
}

impl Admin {
    /// Who acts through the command line on the server's own machine; also the server itself.
    pub const OPERATOR: UserId = UserId(Uuid::nil());

    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The organisation's name.
    pub fn org_name(&self) -> &str {
        &self.app.org_name
    }

    /// The server's public address, `https://host:port`.
    pub fn url(&self) -> &str {
        &self.app.public_url
    }

    /// The pins that go into tickets: of the certificate's key, then of the spare.
    pub fn pins(&self) -> &[roundsman_protocol::ticket::SpkiPin] {
        &self.app.pins
    }

    /// The acts of administrators, the latest first.
    ///
    /// # Errors
    /// [`AdminError::Storage`].
    pub fn acts(&self, limit: usize) -> Result<Vec<ActView>, AdminError> {
        let tx = self.app.storage.read()?;
        tx.admin_acts(limit)?
            .into_iter()
            .map(|act| {
                Ok(ActView {
                    at: time(act.at_ms),
                    actor: actor_name(tx.as_ref(), act.actor)?,
                    action: act.action,
                    object: act.object,
                })
            })
            .collect()
    }
}

/// Makes sure that the actor may act.
fn allow(tx: &(impl PeopleRead + ?Sized), actor: UserId) -> Result<(), AdminError> {
    let allowed = actor == Admin::OPERATOR || tx.user(actor)?.is_some_and(|user| user.role == Role::Admin);
    if allowed { Ok(()) } else { Err(AdminError::NotAllowed) }
}

/// Records an act in the transaction that does it.
fn record(
    tx: &mut dyn WriteTx,
    actor: UserId,
    action: &str,
    object: impl ToString,
    now: DateTime<Utc>,
) -> Result<(), AdminError> {
    let (action, object) = (action.to_owned(), object.to_string());
    Ok(tx.add_admin_act(&AdminAct { at_ms: now.timestamp_millis(), actor, action, object })?)
}

fn actor_name(tx: &(impl PeopleRead + ?Sized), actor: UserId) -> Result<String, AdminError> {
    if actor == Admin::OPERATOR {
        return Ok("the server".to_owned());
    }
    Ok(tx.user(actor)?.map_or_else(|| actor.to_string(), |user| user.name))
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}
