//! Hearing from the server: in the foreground by a channel, in the background by the platform's scheduler and push.

use super::RoundsmanClient;
use crate::listening::ForeignWatcher;
use crate::sync::unless_cancelled;
use crate::worker::online;
use crate::{CancelHandle, Ended, Listening, NetworkKind, RoundsmanError, Watcher, Woken};
use std::sync::Arc;
use std::time::Duration;

#[uniffi::export]
impl RoundsmanClient {
    /// Listens until it is stopped: keeps a channel to the server open, syncs when there are changes and checks in when
    /// there is a command. Begins with a sync. For the time that the app is in the foreground. Works while the vault is
    /// closed or locked, for commands alone. Connections that are lost are made again, after waits that grow to five
    /// minutes.
    ///
    /// # Errors
    /// What another try would not mend: `NotEnrolled`, `UnknownDevice`, `UpdateNeeded`. A sync that the server refuses for
    /// good ends nothing: the watcher is told, and commands still come.
    #[uniffi::method(default(watcher = None))]
    pub async fn listen(
        &self,
        listening: Arc<Listening>,
        watcher: Option<Arc<dyn Watcher>>,
    ) -> Result<Ended, RoundsmanError> {
        let (client, watcher) = (self.client.clone(), ForeignWatcher(watcher));
        online(async move { Ok(client.listen(&listening.0, &watcher).await?) }).await
    }

    /// Checks in, and syncs if the vault is open, for the platform's scheduler. Tries again until `deadline` has passed,
    /// and says when to come again. Needs no passcode.
    ///
    /// # Errors
    /// What another try would not mend: schedule no more until it is settled. `Cancelled`.
    #[uniffi::method(default(cancel = None))]
    pub async fn background_sync(
        &self,
        deadline: Duration,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<Woken, RoundsmanError> {
        let client = self.client.clone();
        let woken = async move { Ok(client.background_sync(deadline).await?.into()) };
        online(unless_cancelled(cancel, woken)).await
    }

    /// Does what the data of a push message asks for: a check-in, and a sync if the vault is open, within 25 seconds.
    /// Nothing else that the message may say is believed. Nothing if it is no message of this system.
    ///
    /// # Errors
    /// As `background_sync`.
    #[uniffi::method(default(cancel = None))]
    pub async fn handle_push(
        &self,
        payload: Vec<u8>,
        cancel: Option<Arc<CancelHandle>>,
    ) -> Result<Option<Woken>, RoundsmanError> {
        let client = self.client.clone();
        let woken = async move { Ok(client.handle_push(&payload).await?.map(Into::into)) };
        online(unless_cancelled(cancel, woken)).await
    }

    /// Takes what the app knows of the network, which decides whether attachments are sent. Until it says otherwise
    /// bytes are taken to cost nothing. It is kept in memory only. Records are synced over any.
    pub fn set_network(&self, network: NetworkKind) {
        self.client.set_network(network);
    }
}
