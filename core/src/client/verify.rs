//! Checking everything on the device, and with the server what can't be told here alone.

use super::{Client, Session};
use crate::Error;
use crate::attachments::AttachmentError;
use crate::store::StoreError;
use crate::sync::{Progress, Step, blocking};
use crate::verify::{Compared, Fault, Finding, Part, Verified, VerifyProgress};
use std::sync::Arc;

/// So many syncs are waited for until the server has said what each bucket adds up to: it can't while somebody else
/// changes one.
const ROUNDS: u32 = 3;

impl Client {
    /// Checks everything, end to end: the tables and their indexes, the search, the sealed copies of unsent changes, the
    /// audit chain, the files of attachments, and, if there is a network, what the records add up to on the server. What
    /// differs is mended where that is possible: an index is made anew, a change is sealed anew, a part of the data and a
    /// damaged photo that the server has are fetched anew. Unsent work is never touched.
    ///
    /// Takes as long as reading everything once: about 0.3 seconds for ten thousand customers on a laptop, and then every
    /// photo. Call it from a screen of the app's, or now and then while the phone is charged. It syncs, and says how that
    /// went in [`server`](Verified::server).
    ///
    /// # Errors
    /// The vault is not open, or is closed meanwhile; cancelled. What is wrong is a finding, and no error. What was mended
    /// before an error stays so.
    pub async fn verify(&self, progress: &dyn VerifyProgress) -> Result<Verified, Error> {
        let session = self.session()?;
        let mut found = Verified::new();
        self.verify_store(&session, progress, &mut found).await?;
        self.verify_audit(progress, &mut found).await?;
        verify_attachments(&session, progress, &mut found).await?;
        begin(progress, Part::Server)?;
        found.server = match self.verify_buckets(&session, progress, &mut found).await {
            Err(error @ (Error::Locked | Error::Cancelled)) => return Err(error),
            compared => compared,
        };
        progress.checked(Part::Server, 1, 1);
        Ok(found)
    }

    /// The tables, the search, and the sealed copies of unsent changes.
    async fn verify_store(
        &self,
        session: &Session,
        progress: &dyn VerifyProgress,
        found: &mut Verified,
    ) -> Result<(), Error> {
        begin(progress, Part::Store)?;
        let store = Arc::clone(&session.store);
        let mut searchable = true;
        match survive(blocking(move || Ok(store.verify_tables()?)).await)? {
            Ok((rows, readable)) => (found.rows, searchable) = (rows, readable),
            Err(fault) => found.add(fault, false),
        }
        progress.checked(Part::Store, 1, 1);

        begin(progress, Part::Search)?;
        let store = Arc::clone(&session.store);
        let checked = if searchable {
            survive(blocking(move || Ok(store.verify_search()?)).await)?
        } else {
            Err(Fault::Search { wrong: found.rows, left: 0 })
        };
        let fault = match checked {
            Ok(check) => {
                found.searchable = check.rows;
                let (wrong, left) = (check.wrong, check.left);
                (wrong + left > 0).then_some(Fault::Search { wrong, left })
            }
            // What it holds can't be read.
            Err(Fault::Store(StoreError::Corrupt)) => Some(Fault::Search { wrong: found.rows, left: 0 }),
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            let mended = matches!(fault, Fault::Search { .. }) && self.index_anew(session, progress).await?;
            found.add(fault, mended);
        }
        progress.checked(Part::Search, 1, 1);

        begin(progress, Part::Outbox)?;
        let store = Arc::clone(&session.store);
        match survive(blocking(move || Ok(store.verify_sealed()?)).await)? {
            Ok((changes, sealed_anew)) => {
                found.changes = changes;
                if sealed_anew > 0 {
                    found.add(Fault::NotSealed { changes: sealed_anew }, true);
                }
            }
            Err(fault) => found.add(fault, false),
        }
        progress.checked(Part::Outbox, 1, 1);
        Ok(())
    }

    /// Makes the search anew; whether it is whole.
    async fn index_anew(&self, session: &Session, progress: &dyn VerifyProgress) -> Result<bool, Error> {
        let store = Arc::clone(&session.store);
        if survive(blocking(move || Ok(store.index_anew()?)).await)?.is_err() {
            return Ok(false);
        }
        loop {
            cancelled(progress)?;
            let store = Arc::clone(&session.store);
            match survive(blocking(move || Ok(store.index_more()?)).await)? {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(_) => return Ok(false),
            }
        }
    }

    async fn verify_audit(&self, progress: &dyn VerifyProgress, found: &mut Verified) -> Result<(), Error> {
        begin(progress, Part::Audit)?;
        let (vault, audit) = (Arc::clone(&self.inner.vault), Arc::clone(&self.inner.audit));
        let check = blocking(move || {
            audit.flush();
            Ok(vault.verify_audit()?)
        })
        .await?;
        found.audit_entries = check.entries;
        if let Some((kind, entry)) = check.fault {
            found.add(Fault::Audit { kind, entry }, false);
        }
        progress.checked(Part::Audit, 1, 1);
        Ok(())
    }

    /// Has the server say what every bucket adds up to, and what differs read anew.
    async fn verify_buckets(
        &self,
        session: &Session,
        progress: &dyn VerifyProgress,
        found: &mut Verified,
    ) -> Result<Compared, Error> {
        session.store.compare_contents();
        let mut round = 0;
        let compared = loop {
            round += 1;
            let synced = self.sync(&Passing(progress)).await;
            let store = Arc::clone(&session.store);
            let compared = blocking(move || Ok(store.comparison()?)).await?;
            let settled = compared.unknown == 0 && compared.differed.iter().all(|(_, mended)| *mended);
            match synced {
                Ok(_) if settled || round == ROUNDS => break Ok(compared),
                Ok(_) => {}
                // What was found before the line was cut is told all the same.
                Err(error) => break Err((error, compared)),
            }
        };
        let (failed, compared) = match compared {
            Ok(compared) => (None, compared),
            Err((error, compared)) => (Some(error), compared),
        };
        for (bucket, mended) in compared.differed {
            found.add(Fault::Bucket { bucket }, mended);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Compared { buckets: compared.compared, unknown: compared.unknown }),
        }
    }
}

async fn verify_attachments(
    session: &Session,
    progress: &dyn VerifyProgress,
    found: &mut Verified,
) -> Result<(), Error> {
    begin(progress, Part::Attachments)?;
    let attachments = session.attachments.clone();
    let here = match survive(blocking(move || attachments.all_here()).await)? {
        Ok(here) => here,
        Err(fault) => {
            found.add(fault, false);
            return Ok(());
        }
    };
    let of = here.len() as u64;
    for (done, id) in (1..).zip(here) {
        cancelled(progress)?;
        let attachments = session.attachments.clone();
        match survive(blocking(move || attachments.verify(id)).await)? {
            Ok(None) => {}
            Ok(Some(check)) => {
                found.attachments += 1;
                found.attachment_bytes += check.size;
                if let Some(error) = check.fault {
                    let mended = give_up(session, id, error).await?;
                    found.add(Fault::Attachment { id, error }, mended);
                }
            }
            Err(fault) => found.add(fault, false),
        }
        progress.checked(Part::Attachments, done, of);
    }
    let attachments = session.attachments.clone();
    match survive(blocking(move || attachments.verify_keys()).await)? {
        Ok(0) => {}
        Ok(files) => found.add(Fault::KeysNotSealed { files }, true),
        Err(fault) => found.add(fault, false),
    }
    Ok(())
}

/// Drops the file of an attachment that is damaged, if the server has what was in it. A disk that fails may do better
/// the next time, and an app that is too old is no damage.
async fn give_up(session: &Session, id: uuid::Uuid, error: AttachmentError) -> Result<bool, Error> {
    let damaged = matches!(
        error,
        AttachmentError::Missing
            | AttachmentError::Truncated
            | AttachmentError::Damaged
            | AttachmentError::OtherFile
            | AttachmentError::OtherContent
            | AttachmentError::WrongKey
    );
    if !damaged {
        return Ok(false);
    }
    let attachments = session.attachments.clone();
    Ok(survive(blocking(move || attachments.give_up(id)).await)?.unwrap_or(false))
}

impl Verified {
    /// Adds what was found; a store that fails in every part is told of once.
    fn add(&mut self, fault: Fault, mended: bool) {
        let finding = Finding { fault, mended };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// What a part that can't be read says of the store; other errors end the check.
fn survive<T>(checked: Result<T, Error>) -> Result<Result<T, Fault>, Error> {
    match checked {
        Ok(checked) => Ok(Ok(checked)),
        Err(Error::Store(error)) => Ok(Err(Fault::Store(error))),
        Err(error) => Err(error),
    }
}

fn begin(progress: &dyn VerifyProgress, part: Part) -> Result<(), Error> {
    cancelled(progress)?;
    progress.checked(part, 0, 1);
    Ok(())
}

fn cancelled(progress: &dyn VerifyProgress) -> Result<(), Error> {
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

/// Lets a sync be stopped by whoever follows the check.
struct Passing<'a>(&'a dyn VerifyProgress);

impl Progress for Passing<'_> {
    fn progress(&self, _: Step) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
