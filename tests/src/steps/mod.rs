//! A phone whose disk fails at a named step, and what must hold after it.
//!
//! A *step* is one call that changes what is on the disk: it creates, writes, cuts, syncs, renames or removes a file
//! under the phone's folder. A [scenario](scenarios) runs in a process of its own over a [shim] that counts and
//! names the steps and lets one of them fail; afterwards the [judge] opens the phone again on a good disk. The
//! [office] is the server's side, kept in a file outside the phone's folder, so that it outlives every process.

pub mod judge;
pub mod office;
pub mod phone;
pub mod scenarios;
pub mod shim;
pub mod sweep;
