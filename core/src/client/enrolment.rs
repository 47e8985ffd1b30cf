//! Joining an organisation: in one step, or in two with digits that a person compares.

use super::{Client, with_key};
use crate::audit::Action;
use crate::net::Endpoint;
use crate::store::Store;
use crate::sync::{AccessToken, blocking};
use crate::vault::{Passcode, Profile, VaultError, VaultState};
use crate::{Error, VERSION};
use chrono::{DateTime, Utc};
use roundsman_protocol::api::{EnrolAnswer, EnrolRequest, RootAnswer};
use roundsman_protocol::enrolment::{
    BeginAnswer, BeginRequest, Digits, FinishAnswer, FinishRequest, Transcript, commitment,
};
use roundsman_protocol::keys::Thumbprint;
use roundsman_protocol::root::Root;
use roundsman_protocol::ticket::Ticket;
use std::sync::{Arc, PoisonError};

/// A code that was scanned, and the root that it names.
struct Scanned {
    ticket: Ticket,
    endpoint: Endpoint,
    root: Root,
    envelope: Vec<u8>,
}

/// A device that waits for its administrator to compare digits. It holds nothing yet; if it is dropped, or the app
/// stops, the device is as new as before and the code is used up.
pub struct PendingEnrolment {
    client: Client,
    scanned: Scanned,
    request: FinishRequest,
    digits: Digits,
    expires_at: DateTime<Utc>,
}

impl Client {
    /// Joins an organisation with the text of its enrolment code, and sets the passcode. Leaves the client open
    /// and empty: [`sync`](Self::sync) fetches the data.
    ///
    /// # Errors
    /// The passcode breaks one of the [`passcode_rules`](Self::passcode_rules); the code is no code, expired or used before; the server can't be reached or is not the one the code names;
    /// the device is enrolled already. The device is as it was then.
    ///
    /// [`ErrorCode::ConfirmationNeeded`](roundsman_protocol::ErrorCode::ConfirmationNeeded) if the organisation lets a
    /// device in only after digits were compared: the code is still good, call
    /// [`begin_enrolment`](Self::begin_enrolment).
    pub async fn enrol(&self, ticket: &str, passcode: &Passcode) -> Result<(), Error> {
        let _conversation = self.inner.conversation.lock().await;
        self.must_be_new()?;
        // Before the code is used up.
        self.passcode_rules().judge(passcode).map_err(VaultError::from)?;
        let scanned = self.scan(ticket).await?;
        let (request, _) = self.enrol_request(&scanned).await?;
        let answer = self.inner.api.post(&scanned.endpoint, "/v1/enrol", None, &request).await?;
        self.settle_in(&scanned, answer, passcode).await
    }

    /// Begins to join an organisation that confirms each new device. Show the digits, wait until they are confirmed,
    /// and go on with [`PendingEnrolment::finish`].
    ///
    /// ```no_run
    /// # async fn join(client: roundsman_core::Client, code: &str, passcode: roundsman_core::vault::Passcode)
    /// # -> Result<(), roundsman_core::Error> {
    /// let pending = client.begin_enrolment(code).await?;
    /// println!("Tell your administrator these digits: {}", pending.digits());
    /// while !pending.is_confirmed().await? {
    ///     tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    /// }
    /// pending.finish(&passcode).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`enrol`](Self::enrol). The device is as it was then; the code is used up if it got as far as the server.
    pub async fn begin_enrolment(&self, ticket: &str) -> Result<PendingEnrolment, Error> {
        let _conversation = self.inner.conversation.lock().await;
        self.must_be_new()?;
        let scanned = self.scan(ticket).await?;
        let (device, key) = self.enrol_request(&scanned).await?;
        let (install, nonce) = (device.install, self.inner.config.entropy.bytes()?);
        let begin = BeginRequest { device, commitment: commitment(&nonce) };
        let (api, endpoint) = (&self.inner.api, &scanned.endpoint);
        let begun: BeginAnswer = api.post(endpoint, "/v1/enrol/begin", None, &begin).await?;
        if begun.org != scanned.root.org() {
            return Err(Error::BadAnswer);
        }
        let transcript = Transcript {
            ticket: scanned.ticket.digest(),
            org: begun.org,
            install,
            key,
            device_nonce: nonce,
            server_nonce: begun.nonce,
        };
        // From here on the server's value is known, so that the own one may be shown.
        let request = FinishRequest { enrolment: begun.enrolment, nonce, enter: false };
        let revealed: FinishAnswer = api.post(endpoint, "/v1/enrol/finish", None, &request).await?;
        if !matches!(revealed, FinishAnswer::Waiting) {
            // Nobody can have compared digits that were not shown yet.
            return Err(Error::BadAnswer);
        }
        let (digits, expires_at) = (transcript.digits(), begun.expires_at);
        Ok(PendingEnrolment { client: self.clone(), scanned, request, digits, expires_at })
    }

    fn must_be_new(&self) -> Result<(), Error> {
        if self.inner.vault.state() == VaultState::New { Ok(()) } else { Err(Error::AlreadyEnrolled) }
    }

    /// Reads the code, and fetches the root that it names.
    async fn scan(&self, ticket: &str) -> Result<Scanned, Error> {
        let ticket = Ticket::from_text(ticket)?;
        let endpoint = Endpoint { url: ticket.url.clone(), pins: ticket.pins.clone() };
        let RootAnswer { root: envelope } = self.inner.api.get(&endpoint, "/v1/root").await?;
        let root = Root::open_first(&envelope, &ticket.root_sha256).map_err(|_| Error::WrongPin)?;
        Ok(Scanned { ticket, endpoint, root, envelope })
    }

    /// The request, and the device's key, which is made for it.
    async fn enrol_request(&self, scanned: &Scanned) -> Result<(EnrolRequest, Thumbprint), Error> {
        let inner = Arc::clone(&self.inner);
        let (key, install) =
            blocking(move || Ok((inner.device.identity()?.thumbprint(), inner.vault.install()))).await?;
        let config = &self.inner.config;
        let request = EnrolRequest {
            ticket: scanned.ticket.token,
            install,
            name: config.device_name.clone(),
            platform: config.platform.clone(),
            hardware_keys: config.keys.hardware(),
            core: VERSION.to_owned(),
        };
        Ok((request, key))
    }

    /// Makes the vault for a device that was let in.
    async fn settle_in(
        &self,
        scanned: &Scanned,
        answer: EnrolAnswer,
        passcode: &Passcode,
    ) -> Result<(), Error> {
        let Scanned { ticket, endpoint, root, envelope } = scanned;
        if answer.org != root.org() {
            return Err(Error::BadAnswer);
        }
        let mut profile = Profile {
            device: answer.device,
            org: answer.org,
            user: answer.user,
            user_name: answer.user_name,
            org_name: ticket.org_name.clone(),
            url: ticket.url.clone(),
            pins: ticket.pins.clone(),
            root: vec![],
        };
        profile.adopt(root, envelope);
        // Of the name there was nothing to know before.
        self.rules_for(&profile).judge(passcode).map_err(VaultError::from)?;
        let (inner, passcode) = (Arc::clone(&self.inner), passcode.duplicate());
        blocking(move || {
            let (user, now) = (profile.user, inner.config.clock.now());
            let path = inner.vault.database_path();
            let mut made = None;
            // The store and its tokens exist before the vault counts as made: a stop in between leaves a new
            // device, never a vault without a database.
            inner.vault.create(profile.clone(), &passcode, |key| {
                let sealed = inner.vault.sealed_outbox(&profile)?;
                let store = with_key(key, |key| Store::create(&path, key, sealed))?;
                let token = AccessToken::keep(answer.tokens, &store, now)?;
                made = Some((store, key.files().duplicate(), token));
                Ok::<_, Error>(())
            })?;
            if let Some((store, files, token)) = made {
                inner.begin(store, files, user, inner.vault.seal_to(&profile)?, inner.vault.now_ms());
                inner.audit.record(Action::Enrolled);
                *inner.access.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
            }
            Ok(())
        })
        .await?;
        // The release share should be in escrow before the first lock; if this fails, the next sync does it.
        let _ = self.talk(endpoint).check_in(|| Some(0), &mut 0).await;
        Ok(())
    }
}

impl PendingEnrolment {
    /// What the administrator's console must show too. If it shows other digits, or no such device, somebody sits
    /// between or was faster: the person must not go on, and tell the administrator.
    pub fn digits(&self) -> Digits {
        self.digits
    }

    /// Until when the administrator may confirm them.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// Asks the server whether the digits were confirmed. Call it every few seconds while the digits are shown, and
    /// [`finish`](Self::finish) once it says so.
    ///
    /// # Errors
    /// [`EnrolmentRefused`](roundsman_protocol::ErrorCode::EnrolmentRefused): the digits don't match.
    /// [`EnrolmentExpired`](roundsman_protocol::ErrorCode::EnrolmentExpired): ask for a new code. No connection: ask
    /// again.
    pub async fn is_confirmed(&self) -> Result<bool, Error> {
        let _conversation = self.client.inner.conversation.lock().await;
        Ok(!matches!(self.ask(false).await?, FinishAnswer::Waiting))
    }

    /// Makes the vault with this passcode and leaves the client open and empty, as [`Client::enrol`] does. `false`, with
    /// nothing done, while nobody has confirmed the digits. May be repeated after every error but a refusal.
    ///
    /// # Errors
    /// As [`is_confirmed`](Self::is_confirmed); the passcode breaks one of the
    /// [`passcode_rules`](Client::passcode_rules): ask for another; the device is enrolled already.
    pub async fn finish(&self, passcode: &Passcode) -> Result<bool, Error> {
        let client = &self.client;
        let _conversation = client.inner.conversation.lock().await;
        client.must_be_new()?;
        client.passcode_rules().judge(passcode).map_err(VaultError::from)?;
        match self.ask(true).await? {
            FinishAnswer::Waiting | FinishAnswer::Confirmed => Ok(false),
            FinishAnswer::Enrolled(answer) => {
                client.settle_in(&self.scanned, answer, passcode).await?;
                Ok(true)
            }
        }
    }

    async fn ask(&self, enter: bool) -> Result<FinishAnswer, Error> {
        let request = FinishRequest { enter, ..self.request.clone() };
        self.client.inner.api.post(&self.scanned.endpoint, "/v1/enrol/finish", None, &request).await
    }
}
