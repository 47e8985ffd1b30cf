//! What Roundsman knows about the field: its entities, their fields, and the rules they obey.
//!
//! This crate is pure. It does no I/O, reads no clock and holds no state, so the client and the server run
//! the very same rules. It promises that a record which passed [`EntityDef::admit`] and [`EntityDef::check`]
//! on the phone passes them on the server too, as long as both carry the same version of the entity.
//!
//! An entity is declared once, in one file ([`customer`], [`visit`]): its fields, who may see each of them,
//! how two edits of a field are merged, what is searched, and what makes a record valid. Storage, sync and
//! the bindings read that declaration; adding an entity is adding a file and naming it in [`ENTITIES`].
//!
//! ```
//! use roundsman_model::{customer::Customer, Entity, Fields};
//!
//! let mut fields = Fields::new();
//! fields.insert("code".into(), "7E-41177".into());
//! fields.insert("name".into(), "66 Centennial Dr".into());
//! fields.insert("territory".into(), "NJ".into());
//! let admitted = Customer::DEF.admit(fields)?;
//! Customer::DEF.check(None, &admitted)?;
//! # Ok::<(), roundsman_model::RuleError>(())
//! ```
#![forbid(unsafe_code)]

pub mod attachment;
pub mod collision;
pub mod customer;
mod entity;
pub mod geo;
mod ids;
pub mod merge;
pub mod search;
mod stamp;
mod value;
pub mod visit;

pub use entity::{Class, Entity, EntityDef, FieldDef, MAX_WORDS, Role, RuleError, Scope, Search, field};
pub use ids::{Bucket, CommitSeq, DeviceId, DeviceSeq, OrgId, Rev, Seq, UserId};
pub use merge::Merge;
pub use stamp::{HybridClock, Stamp};
pub use value::{Choice, FieldType, Fields, Kind, Value};

/// Every entity of the system. Storage makes one table for each, in this order.
pub const ENTITIES: &[&EntityDef] =
    &[customer::Customer::DEF, visit::Visit::DEF, collision::Collision::DEF, attachment::Attachment::DEF];

/// The entity with this name, as it stands on the wire.
pub fn entity(name: &str) -> Option<&'static EntityDef> {
    ENTITIES.iter().copied().find(|def| def.name == name)
}
