//! Every variant of the core's errors, and what it becomes. The counts come from the core's own sources, so that a
//! variant that is added there is not forgotten here.

use super::*;
use crate::{AttachmentFlaw, BiometricsFlaw, Concern, KeyError, PasscodeFlaw, RootRefusal, RuleCode};
use RoundsmanError as R;
use roundsman_core::platform;
use roundsman_core::protocol::command::Refusal;
use roundsman_core::protocol::root::RootError;
use roundsman_core::vault::BiometricsError as B;
use uuid::Uuid;

/// How many variants the enum of this name has in the source.
fn variants(source: &str, name: &str) -> usize {
    let (_, body) = source.split_once(&format!("pub enum {name} {{")).unwrap_or_default();
    let (body, _) = body.split_once("\n}\n").unwrap_or_default();
    body.lines().filter(|line| line.trim_start().starts_with("#[error(")).count()
}

fn damaged(reason: &str) -> R {
    R::Damaged { reason: reason.to_owned() }
}

fn is_complete<T: Into<R>>(cases: Vec<(T, R)>, source: &str, name: &str, spare: usize) {
    assert_eq!(cases.len(), variants(source, name) + spare, "{name}: every variant, once");
    for (error, expected) in cases {
        assert_eq!(error.into(), expected);
    }
}

#[test]
fn each_error_of_the_client_has_its_word() {
    let visit = Uuid::from_u128(7);
    let server = |reason: &str| R::Server { reason: reason.to_owned() };
    let cases = vec![
        (Error::Locked, R::Locked),
        (Error::PasscodeExpired, R::PasscodeExpired),
        (Error::NotEnrolled, R::NotEnrolled),
        (Error::AlreadyEnrolled, R::AlreadyEnrolled),
        (Error::Vault(VaultError::LeaseEnded), R::LeaseEnded),
        (Error::Store(StoreError::Full), R::DiskFull),
        (Error::Rule(RuleError::NotAllowed), R::Rule { code: RuleCode::NotAllowed, field: None }),
        (Error::VisitInProgress { visit }, R::VisitInProgress { visit }),
        (Error::NotFound, R::NotFound),
        (Error::Ticket(TicketError::NotATicket), R::TicketInvalid),
        (Error::Ticket(TicketError::Untrustworthy), R::TicketInvalid),
        (Error::Ticket(TicketError::NewerVersion), R::UpdateNeeded),
        (Error::RootBundle(RootBundleError::NewerVersion), R::UpdateNeeded),
        (
            Error::RootBundle(RootBundleError::NotABundle),
            R::RootBundle { reason: "this is not a code with an organisation's keys".to_owned() },
        ),
        (Error::Attachment(AttachmentError::Full), R::DiskFull),
        (Error::Offline, R::Offline),
        (Error::WrongPin, R::WrongPin),
        (Error::Server(ErrorCode::Busy.into()), R::ServerBusy),
        (Error::BadAnswer, server("the server's answer was incomplete or can't be read")),
        (Error::Refused(Refusal::Expired), server("the command has expired")),
        (Error::InUse, R::ProfileHoldsVault),
        (Error::Cancelled, R::Cancelled),
    ];
    is_complete(cases, include_str!("../../../../core/src/error.rs"), "Error", 3);
}

#[test]
fn each_error_of_the_vault_has_its_word() {
    let concerns = vec![Concern::Rooted];
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let cases = vec![
        (VaultError::NotEnrolled, R::NotEnrolled),
        (VaultError::AlreadyCreated, R::AlreadyEnrolled),
        (VaultError::WrongPasscode { attempts_left: 3 }, R::WrongPasscode { attempts_left: 3 }),
        (VaultError::Wait { seconds: 30 }, R::Wait { seconds: 30 }),
        (VaultError::Locked, R::LockedByAdministrator),
        (VaultError::ShareNeeded, R::ShareNeeded),
        (VaultError::Wiping, R::Wiped),
        (VaultError::Wiped, R::Wiped),
        (VaultError::Tampered { file: "slots" }, damaged("slots was changed or is damaged")),
        (VaultError::Truncated { file: "slots" }, damaged("slots is cut off")),
        (VaultError::Missing { file: "slots" }, damaged("slots is missing")),
        (VaultError::RolledBack, R::RolledBack),
        (VaultError::KeyGone, R::KeyGone),
        (VaultError::WrongKey, R::KeyGone),
        (VaultError::Key(platform::KeyError::LockedOut), R::Keystore { reason: KeyError::LockedOut }),
        (VaultError::InUse, R::InUse),
        (PasscodeError::Run.into(), R::WeakPasscode { flaw: PasscodeFlaw::Run }),
        (VaultError::Biometrics(B::Off), R::Biometrics { reason: BiometricsFlaw::Off }),
        (VaultError::Disk(full()), R::DiskFull),
        (VaultError::Disk(io::ErrorKind::PermissionDenied.into()), R::Storage),
        (VaultError::Entropy(platform::EntropyError), R::NoRandomness),
        (VaultError::Root(RootError::Expired), R::OrganisationKeys { reason: RootRefusal::Expired }),
        (VaultError::ClockTurnedBack, R::ClockTurnedBack),
        (VaultError::ClockImplausible, R::ClockImplausible),
        (VaultError::LeaseEnded, R::LeaseEnded),
        (VaultError::PostureRefused { concerns: concerns.clone() }, R::PostureRefused { concerns }),
        (VaultError::PasscodeNeeded, R::PasscodeNeeded),
        (VaultError::OutOfMemory, R::OutOfMemory),
    ];
    is_complete(cases, include_str!("../../../../core/src/vault/error.rs"), "VaultError", 1);
}

#[test]
fn each_error_of_the_store_has_its_word() {
    let cases = vec![
        (StoreError::Closed, R::Locked),
        (StoreError::Missing, damaged("the database is missing: put its file back")),
        (StoreError::Exists, damaged("there is a database already")),
        (StoreError::WrongKey, damaged("the key is not this database's")),
        (StoreError::Corrupt, damaged("the database is damaged: put back a whole copy of its file")),
        (StoreError::RolledBack, R::RolledBack),
        (StoreError::PartRolledBack { table: "visits" }, R::RolledBack),
        (StoreError::NotSealed, R::NotSealed),
        (StoreError::NotEncrypted, damaged("the database is not encrypted: this is not a file of the app")),
        (StoreError::NoCipher, R::NoCipher),
        (StoreError::Newer { version: 9 }, R::UpdateNeeded),
        (StoreError::Full, R::DiskFull),
        (StoreError::Busy, R::InUse),
        (StoreError::Io { kind: io::ErrorKind::Other }, R::Storage),
        (StoreError::Database { code: 1 }, R::Database { code: 1 }),
    ];
    is_complete(cases, include_str!("../../../../core/src/store/error.rs"), "StoreError", 0);
}

#[test]
fn each_rule_for_passcodes_has_its_word() {
    use PasscodeError as E;
    use PasscodeFlaw as F;
    let weak = |flaw| R::WeakPasscode { flaw };
    let cases = vec![
        (E::TooShort { least: 10 }, weak(F::TooShort { least: 10 })),
        (E::AllSame, weak(F::AllSame)),
        (E::Run, weak(F::Run)),
        (E::Repeated, weak(F::Repeated)),
        (E::Date, weak(F::Date)),
        (E::Common, weak(F::Common)),
        (E::Personal, weak(F::Personal)),
        (E::Weak, weak(F::Weak)),
        (E::FewClasses { least: 3 }, weak(F::FewClasses { least: 3 })),
        (E::UsedBefore, weak(F::UsedBefore)),
        (E::Unchanged, weak(F::Unchanged)),
    ];
    is_complete(cases, include_str!("../../../../core/src/vault/passcode.rs"), "PasscodeError", 0);
}

#[test]
fn each_error_of_an_attachment_has_its_word() {
    use AttachmentError as E;
    use AttachmentFlaw as F;
    let flaw = |reason| R::Attachment { reason };
    let kind = io::ErrorKind::Other;
    let cases = vec![
        (E::TooLarge { most: 7 }, flaw(F::TooLarge { most: 7 })),
        (E::QuotaReached { left: 7 }, flaw(F::NoRoom { left: 7 })),
        (E::MediaType, flaw(F::MediaType)),
        (E::OtherSize, flaw(F::OtherSize)),
        (E::Content { kind }, flaw(F::Unreadable)),
        (E::NotFetched, flaw(F::NotFetched)),
        (E::NotSentYet, flaw(F::NotSentYet)),
        (E::NoThumbnail, flaw(F::NoThumbnail)),
        (E::OtherContent, flaw(F::OtherContent)),
        (E::Missing, flaw(F::Lost)),
        (E::Truncated, flaw(F::Lost)),
        (E::Damaged, flaw(F::Lost)),
        (E::OtherFile, flaw(F::Lost)),
        (E::WrongKey, flaw(F::Lost)),
        (E::Newer, R::UpdateNeeded),
        (E::Full, R::DiskFull),
        (E::Disk { kind }, R::Storage),
    ];
    is_complete(cases, include_str!("../../../../core/src/attachments/error.rs"), "AttachmentError", 0);
}

#[test]
fn each_reason_against_biometrics_has_its_word() {
    use BiometricsFlaw as F;
    let off = |reason| R::Biometrics { reason };
    let cases = [
        (B::Off, F::Off),
        (B::NotAllowed, F::NotAllowed),
        (B::Expired, F::Expired),
        (B::Cancelled, F::Cancelled),
        (B::LockedOut, F::LockedOut),
        (B::NotAvailable, F::NotAvailable),
        (B::Transient, F::Transient),
    ];
    let cases = cases.map(|(error, reason)| (VaultError::Biometrics(error), off(reason))).into();
    is_complete(cases, include_str!("../../../../core/src/vault/biometrics.rs"), "BiometricsError", 0);
}

#[test]
fn each_answer_of_the_server_has_its_word() {
    use ErrorCode as C;
    let server = |code: C| (code, R::Server { reason: code.to_string() });
    let cases = vec![
        server(C::Malformed),
        server(C::TooLarge),
        server(C::NotFound),
        (C::TicketUnknown, R::TicketInvalid),
        (C::TicketExpired, R::TicketExpired),
        (C::TicketUsed, R::TicketUsed),
        (C::ConfirmationNeeded, R::ConfirmationNeeded),
        (C::EnrolmentRefused, R::EnrolmentRefused),
        (C::EnrolmentExpired, R::EnrolmentExpired),
        server(C::ProofInvalid),
        server(C::UseDpopNonce),
        server(C::SessionExpired),
        server(C::TokenExpired),
        (C::TokenInvalid, R::UnknownDevice),
        (C::DeviceUnknown, R::UnknownDevice),
        (C::DeviceBlocked, R::LockedByAdministrator),
        server(C::SeqGap),
        server(C::CursorAhead),
        (C::UpdateNeeded, R::UpdateNeeded),
        (C::Busy, R::ServerBusy),
        (C::RescueFull, R::ServerBusy),
        server(C::ContentDiffers),
        (C::AttachmentsFull, R::ServerBusy),
        (C::Internal, R::ServerBusy),
    ];
    is_complete(cases, include_str!("../../../../protocol/src/error.rs"), "ErrorCode", 0);
}
