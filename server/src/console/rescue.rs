//! Unsent work that devices handed over: opening it with the rescue key, and deciding what to take.

use super::flash::Flash;
use super::page::{PageError, Shell, Tab, render, sentence};
use super::show::{self, When};
use super::visitor::{Guarded, Nothing, Visitor};
use super::{Console, MAX_FORM};
use crate::admin::{
    AdminError, RescueFilter, RescueReport, RescueState, RescuedView, Taken, TakenAll, WaitingView,
};
use crate::rescue_key_from_text;
use askama::Template;
use axum::extract::multipart::MultipartError;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use roundsman_model::{DeviceId, Value};
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

const HOME: &str = "/console/rescue";

/// Changes on a page.
const LISTED: usize = 300;

struct WaitingRow {
    id: DeviceId,
    name: String,
    user: String,
    segments: String,
    changes: u64,
    photos: u64,
    received: When,
}

struct ChangeRow {
    id: Uuid,
    user: String,
    record: String,
    entity: String,
    what: &'static str,
    fields: Vec<(String, String)>,
    void: bool,
    reason: Option<String>,
    made: When,
}

/// One device's changes.
struct Group {
    device: DeviceId,
    name: String,
    rows: Vec<ChangeRow>,
    /// How many of them are offered.
    offered: usize,
}

#[derive(Template)]
#[template(path = "rescue.html")]
struct Page {
    shell: Shell,
    error: Option<String>,
    /// What was just done, where a sentence out of the fixed list is not enough.
    done: Option<String>,
    waiting: Vec<WaitingRow>,
    groups: Vec<Group>,
    void: bool,
    cut: bool,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    /// Also changes that the phone says were not saved.
    #[serde(default)]
    void: bool,
}

/// What waits to be opened, and what waits for a decision.
pub(super) async fn page(
    State(console): State<Console>,
    visitor: Visitor,
    Query(choice): Query<Choice>,
) -> Result<Response, PageError> {
    show_page(&console, &visitor, StatusCode::OK, choice.void, Said::default()).await
}

/// What the page says about what was just sent.
#[derive(Default)]
struct Said {
    error: Option<String>,
    done: Option<String>,
}

async fn show_page(
    console: &Console,
    visitor: &Visitor,
    status: StatusCode,
    void: bool,
    said: Said,
) -> Result<Response, PageError> {
    let filter =
        RescueFilter { device: None, state: Some(RescueState::NeedsReview), void, limit: LISTED + 1 };
    let (waiting, mut changes) =
        console.ask(move |admin| Ok((admin.rescue_waiting()?, admin.rescued(&filter)?))).await?;
    let now = Utc::now();
    let cut = changes.len() > LISTED;
    changes.truncate(LISTED);
    let page = Page {
        shell: Shell::new(console, visitor, Tab::Rescue),
        error: said.error,
        done: said.done,
        waiting: waiting.into_iter().map(|waiting| WaitingRow::new(waiting, now)).collect(),
        groups: groups(changes, now),
        void,
        cut,
    };
    render(visitor, status, &page)
}

impl WaitingRow {
    fn new(waiting: WaitingView, now: DateTime<Utc>) -> Self {
        Self {
            id: waiting.device,
            name: waiting.device_name,
            user: waiting.user_name,
            segments: show::counted(waiting.segments, "segment"),
            changes: waiting.changes,
            photos: waiting.photos,
            received: When::new(waiting.received_at, now),
        }
    }
}

/// Changes come by device.
fn groups(changes: Vec<RescuedView>, now: DateTime<Utc>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for change in changes {
        if groups.last().is_none_or(|group| group.device != change.device) {
            let (device, name) = (change.device, change.device_name.clone());
            groups.push(Group { device, name, rows: vec![], offered: 0 });
        }
        if let Some(group) = groups.last_mut() {
            group.offered += usize::from(!change.void);
            group.rows.push(ChangeRow::new(change, now));
        }
    }
    groups
}

/// Whether a field tells a person something that the row does not say by itself.
fn tells_something(name: &str, value: &Value) -> bool {
    let said = matches!(name, "customer" | "rep" | "territory" | "lat" | "lon" | "accuracy_m");
    let usual = name.ends_with("_zone_min") || (name == "mocked" && *value == Value::Bool(false));
    !(said || usual)
}

impl ChangeRow {
    fn new(change: RescuedView, now: DateTime<Utc>) -> Self {
        let fields = change
            .fields
            .iter()
            .filter(|(name, value)| tells_something(name, value))
            .map(|(name, value)| (show::field(name), show::value(&change.entity, name, value)))
            .collect();
        Self {
            id: change.change,
            user: change.user_name,
            record: change.customer_name,
            entity: show::field(&change.entity),
            what: if change.removes { "Removed" } else { "" },
            fields,
            void: change.void,
            reason: change.reason.map(|reason| sentence(&reason)),
            made: When::new(change.made_at, now),
        }
    }
}

/// Opens what waits with the key that is sent along, as a file or as its last line. The key is used once, in memory.
pub(super) async fn open(
    State(console): State<Console>,
    visitor: Visitor,
    mut parts: Multipart,
) -> Result<Response, PageError> {
    let token = parts.next_field().await.map_err(broken)?.filter(|part| part.name() == Some("csrf"));
    let token = token.ok_or(PageError::Forged)?.text().await.map_err(broken)?;
    visitor.check(&token)?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FORM));
    while let Some(mut part) = parts.next_field().await.map_err(broken)? {
        if !matches!(part.name(), Some("file" | "key")) || !text.trim_ascii().is_empty() {
            continue;
        }
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            if text.len() + chunk.len() > MAX_FORM {
                return Err(PageError::TooLarge);
            }
            text.extend_from_slice(&chunk);
        }
    }
    let key = std::str::from_utf8(&text).ok().and_then(|text| rescue_key_from_text(text).ok());
    let Some(key) = key else {
        let said =
            refusal("That is no rescue key. Choose the file of the rescue key, or paste its last line.");
        return show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, false, said).await;
    };
    let actor = visitor.id();
    match console.run(move |admin| admin.open_rescue(actor, &key)).await? {
        Ok(report) => {
            console.file_photos();
            let done = Some(opened(&report));
            let visitor = Visitor { pending: console.ask(crate::Admin::pending).await?, ..visitor };
            let said = Said { done, error: None };
            show_page(&console, &visitor, StatusCode::OK, false, said).await
        }
        Err(error @ AdminError::WrongRescueKey) => {
            let said = refusal(&sentence(&error));
            show_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, false, said).await
        }
        Err(error) => Err(error.into()),
    }
}

fn refusal(text: &str) -> Said {
    Said { error: Some(text.to_owned()), done: None }
}

fn opened(report: &RescueReport) -> String {
    let total = report.total();
    if total.segments + total.photos + report.photos_other_key == 0 {
        return "Nothing was waiting.".to_owned();
    }
    let mut text = format!(
        "{} opened: {} to review, {} known already",
        show::counted(total.changes, "change"),
        show::count(total.filed),
        show::count(total.already_applied)
    );
    for (count, what) in [(total.void, "not saved on the phone"), (total.damaged, "damaged")] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", show::count(count)));
        }
    }
    text.push('.');
    if total.photos > 0 {
        let now = total.photos - total.photos_waiting;
        text.push_str(&format!(" {} opened", show::counted(total.photos, "photo")));
        let parts = [(now, "filed now"), (total.photos_waiting, "filed once their records are here")];
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!(", {} {what}", show::count(count)));
        }
        text.push('.');
    }
    if report.photos_other_key > 0 {
        let photos = show::counted(report.photos_other_key, "photo");
        text.push_str(&format!(" Sealed to another key and still waiting: {photos}."));
    }
    if report.other_key > 0 {
        let segments = show::counted(report.other_key, "segment");
        text.push_str(&format!(" Sealed to another key and still waiting: {segments}."));
    }
    if report.unreadable > 0 {
        text.push_str(&format!(" Damaged: {}.", show::counted(report.unreadable, "segment")));
    }
    text
}

impl Console {
    /// Files rescued photos whose records are here now. Nobody waits for it, and what can't be filed yet is tried again
    /// within the hour.
    fn file_photos(&self) {
        let admin = self.admin.clone();
        tokio::spawn(async move {
            if let Err(error) = admin.file_rescued_photos().await {
                tracing::warn!(%error, "rescued photos could not be filed yet");
            }
        });
    }
}

fn broken(error: MultipartError) -> PageError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE { PageError::TooLarge } else { PageError::Malformed }
}

/// Takes one change.
pub(super) async fn take(
    State(console): State<Console>,
    Path(change): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    match console.ask(move |admin| admin.take_rescued(actor, change)).await? {
        Taken::Applied => {
            console.file_photos();
            Ok(done(Flash::RescuedTaken))
        }
        Taken::Refused(reason) => {
            let said = refusal(&format!("It was refused and still waits: {reason}."));
            show_page(&console, &visitor, StatusCode::CONFLICT, false, said).await
        }
    }
}

/// Takes every change of one device, but for those that were not saved.
pub(super) async fn take_all(
    State(console): State<Console>,
    Path(device): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let TakenAll { applied, refused } =
        console.ask(move |admin| admin.take_all_rescued(actor, DeviceId(device))).await?;
    console.file_photos();
    if refused.is_empty() {
        return Ok(done(Flash::RescuedTaken));
    }
    let refused = show::counted(refused.len() as u64, "change");
    let text = format!(
        "Taken: {}. Refused and still waiting: {refused}; the reasons are below.",
        show::count(applied)
    );
    show_page(&console, &visitor, StatusCode::CONFLICT, false, refusal(&text)).await
}

/// Decides not to take a change.
pub(super) async fn dismiss(
    State(console): State<Console>,
    Path(change): Path<Uuid>,
    Guarded { visitor, form: Nothing {} }: Guarded<Nothing>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    console.ask(move |admin| admin.dismiss_rescued(actor, change)).await?;
    Ok(done(Flash::RescuedDismissed))
}

fn done(flash: Flash) -> Response {
    (flash.cookie(), Redirect::to(HOME)).into_response()
}
