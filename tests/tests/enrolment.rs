//! Enrolment that a person confirms: phone and console show the same digits, or nothing comes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use async_trait::async_trait;
use roundsman_core::platform::{Request, Response, Transport, TransportError};
use roundsman_core::protocol::ErrorCode;
use roundsman_core::protocol::ticket::{SpkiPin, Ticket};
use roundsman_core::vault::{Passcode, VaultError};
use roundsman_core::{Client, Config, Error, HttpsTransport, State};
use roundsman_server::admin::{AlertKind, EnrolmentView};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::sync::{Arc, Mutex};

/// An office that compares digits.
async fn office() -> Rig {
    let rig = Rig::start().await;
    rig.admin.set_confirms_enrolments(rig.actor, true).unwrap();
    rig
}

/// The one device that waits.
fn waiting(rig: &Rig) -> EnrolmentView {
    let mut waiting = rig.admin.waiting_enrolments().unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    waiting.remove(0)
}

fn confirm(rig: &Rig) {
    rig.admin.confirm_enrolment(rig.actor, waiting(rig).id).unwrap();
}

/// Passes everything on, and remembers what was sent to finish enrolments. Loses the answers when told to.
struct Wire {
    real: HttpsTransport,
    sent: Mutex<Vec<Request>>,
    lose: Mutex<bool>,
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let finishes = request.url.ends_with("/v1/enrol/finish");
        if finishes {
            self.sent.lock().unwrap().push(request.clone());
        }
        let mut response = self.real.send(request).await?;
        if finishes && *self.lose.lock().unwrap() {
            while response.body.chunk().await?.is_some() {}
            return Err(TransportError::Offline);
        }
        Ok(response)
    }
}

/// A phone with its wire laid open.
fn tapped(rig: &Rig, name: &str) -> (Client, Arc<Wire>) {
    let wire =
        Arc::new(Wire { real: HttpsTransport::new(), sent: Mutex::default(), lose: Mutex::new(false) });
    let config = phone_config(&rig.disk.path().join(name), name);
    let transport: Arc<dyn Transport> = wire.clone();
    (Client::open(Config { transport, ..config }).unwrap(), wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_let_in_after_the_same_digits_were_seen_on_both_screens() {
    let rig = office().await;
    rig.import_stores(3);
    let (ticket, phone) = (rig.ticket(rig.rep("ana")), rig.phone("ana"));
    let one_step = phone.enrol(&ticket, &passcode()).await.unwrap_err();
    assert_eq!(one_step.server_code(), Some(ErrorCode::ConfirmationNeeded), "the code is still good");

    let pending = phone.begin_enrolment(&ticket).await.unwrap();
    let shown = waiting(&rig);
    assert_eq!(shown.digits, Some(pending.digits()));
    assert_eq!((shown.device_name.as_str(), shown.user_name.as_str()), ("ana", "ana"));
    assert!(!pending.is_confirmed().await.unwrap(), "nobody has decided");
    assert!(!pending.finish(&passcode()).await.unwrap(), "and nothing comes of trying");
    assert!(rig.admin.devices().unwrap().is_empty());
    assert_eq!(phone.state(), State::New);

    confirm(&rig);
    assert!(pending.is_confirmed().await.unwrap());
    assert!(rig.admin.devices().unwrap().is_empty(), "let in only when the passcode is there");
    let weak = pending.finish(&Passcode::new("mellow brook candle").unwrap()).await.unwrap_err();
    assert!(matches!(weak, Error::Vault(VaultError::Passcode(_))), "{weak}");
    assert!(pending.finish(&passcode()).await.unwrap());
    assert_eq!(phone.state(), State::Open);
    phone.sync(&()).await.unwrap();
    assert_eq!(phone.customers().unwrap().list(None, 10).unwrap().len(), 3);
    let again = pending.finish(&passcode()).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyEnrolled));
    assert_eq!(rig.admin.devices().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_was_faster_with_the_code_is_seen_and_gets_nothing() {
    let rig = office().await;
    let ticket = rig.ticket(rig.rep("ana"));
    let (thief, ana) = (rig.phone("thief"), rig.phone("ana"));
    let stolen = thief.begin_enrolment(&ticket).await.unwrap();
    let error = ana.begin_enrolment(&ticket).await.err().unwrap();
    assert_eq!(error.server_code(), Some(ErrorCode::TicketUsed), "ana has no digits to read out");

    rig.admin.refuse_enrolment(rig.actor, waiting(&rig).id).unwrap();
    for refused in [stolen.is_confirmed().await, stolen.finish(&passcode()).await] {
        assert_eq!(refused.unwrap_err().server_code(), Some(ErrorCode::EnrolmentRefused));
    }
    assert_eq!((thief.state(), ana.state()), (State::New, State::New));
    assert!(rig.admin.devices().unwrap().is_empty());
    assert!(rig.admin.alerts(10).unwrap().iter().any(|alert| alert.kind == AlertKind::EnrolmentRefused));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sits_between_with_an_own_code_shows_other_digits() {
    let (office, rogue) = (office().await, office().await);
    let (honest, lure) = (office.ticket(office.rep("ana")), rogue.ticket(rogue.rep("ana")));
    let ana = office.phone("ana").begin_enrolment(&lure).await.unwrap();
    let between = office.phone("between").begin_enrolment(&honest).await.unwrap();
    assert_ne!(waiting(&office).digits, Some(ana.digits()));
    assert_eq!(waiting(&office).digits, Some(between.digits()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_changed_on_its_way_shows_other_digits_even_if_all_else_is_passed_on() {
    let rig = office().await;
    let ticket = Ticket::from_text(&rig.ticket(rig.rep("ana"))).unwrap();
    // With one pin more, whose key somebody else holds, that somebody could read along from now on.
    let mut pins = ticket.pins.clone();
    pins.push(SpkiPin([66; 32]));
    let changed = Ticket { pins, ..ticket };
    let pending = rig.phone("ana").begin_enrolment(&changed.to_text()).await.unwrap();
    let shown = waiting(&rig).digits.unwrap();
    assert_ne!(shown, pending.digits());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_stops_in_between_is_new_and_its_code_is_spent() {
    let rig = office().await;
    let rep = rig.rep("ana");
    let ticket = rig.ticket(rep);
    let phone = rig.phone("ana");
    let pending = phone.begin_enrolment(&ticket).await.unwrap();
    confirm(&rig);
    drop((pending, phone));

    let phone = rig.phone("ana");
    assert_eq!(phone.state(), State::New);
    let error = phone.begin_enrolment(&ticket).await.err().unwrap();
    assert_eq!(error.server_code(), Some(ErrorCode::TicketUsed));
    assert!(rig.admin.devices().unwrap().is_empty(), "confirmed, but nobody has come for it");
    rig.admin.refuse_enrolment(rig.actor, waiting(&rig).id).unwrap();

    let pending = phone.begin_enrolment(&rig.ticket(rep)).await.unwrap();
    assert_eq!(waiting(&rig).digits, Some(pending.digits()));
    confirm(&rig);
    assert!(pending.finish(&passcode()).await.unwrap());
    phone.sync(&()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_listened_to_is_worth_nothing_to_somebody_else() {
    let rig = office().await;
    let (ana, wire) = tapped(&rig, "ana");
    let pending = ana.begin_enrolment(&rig.ticket(rig.rep("ana"))).await.unwrap();
    confirm(&rig);
    let revealed = wire.sent.lock().unwrap().last().cloned().unwrap();
    let replayed = HttpsTransport::new().send(revealed).await.unwrap();
    assert_eq!(replayed.status, 401, "a proof is good once");
    assert!(rig.admin.devices().unwrap().is_empty());
    assert!(pending.finish(&passcode()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_asked_for_again_and_makes_one_device() {
    let rig = office().await;
    let (ana, wire) = tapped(&rig, "ana");
    let pending = ana.begin_enrolment(&rig.ticket(rig.rep("ana"))).await.unwrap();
    confirm(&rig);
    *wire.lose.lock().unwrap() = true;
    let lost = pending.finish(&passcode()).await.unwrap_err();
    assert!(matches!(lost, Error::Offline), "{lost}");
    assert_eq!((ana.state(), rig.admin.devices().unwrap().len()), (State::New, 1));
    *wire.lose.lock().unwrap() = false;
    assert!(pending.finish(&passcode()).await.unwrap());
    ana.sync(&()).await.unwrap();
    assert_eq!(rig.admin.devices().unwrap().len(), 1);
}
