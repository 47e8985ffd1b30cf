//! Why the kit could not do it.

use std::io;

/// Why the kit could not do it. A test that meets it has asked for something that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum KitError {
    /// No device has this name.
    #[error("no device is called {name}")]
    NoSuchDevice {
        /// The name.
        name: String,
    },
    /// The server refused, or could not start.
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

impl KitError {
    pub(crate) fn failed(error: impl std::error::Error) -> Self {
        Self::Failed { reason: error.to_string() }
    }
}

impl From<roundsman_testkit::KitError> for KitError {
    fn from(error: roundsman_testkit::KitError) -> Self {
        Self::failed(error)
    }
}

impl From<roundsman_server::AdminError> for KitError {
    fn from(error: roundsman_server::AdminError) -> Self {
        Self::failed(error)
    }
}

impl From<io::Error> for KitError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}
