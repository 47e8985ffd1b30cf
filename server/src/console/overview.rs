//! The overview: what stands well, what needs a look.

use super::Console;
use super::devices::{DeviceRow, is_gone};
use super::page::{PageError, Shell, Tab, render};
use super::show::{self, Badge};
use super::visitor::Visitor;
use super::visits::VisitRow;
use crate::admin::{DeviceStatus, DeviceView, Pending};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_model::visit;
use roundsman_protocol::posture::Verdict;

/// How many visits the overview shows.
const VISITS: usize = 6;

/// Days without a word after which a device needs a look.
const SILENT_DAYS: i64 = 7;

/// The states in the order of the summary.
const STATES: [DeviceStatus; 8] = [
    DeviceStatus::Active,
    DeviceStatus::LockPending,
    DeviceStatus::SoftLocked,
    DeviceStatus::Locked,
    DeviceStatus::UnlockGranted,
    DeviceStatus::WipePending,
    DeviceStatus::Shredded,
    DeviceStatus::Wiped,
];

/// Something that waits for the administrator.
struct Task {
    href: &'static str,
    icon: &'static str,
    text: String,
}

fn tasks(pending: Pending) -> Vec<Task> {
    let task = |count, one: &str, many: &str, href, icon| {
        let text = if count == 1 { format!("1 {one}") } else { format!("{} {many}", show::count(count)) };
        (count > 0).then_some(Task { href, icon, text })
    };
    [
        task(pending.alerts, "alert to look at", "alerts to look at", "/console/alerts", "bell"),
        task(
            pending.wipes,
            "wipe waits for approval",
            "wipes wait for approval",
            "/console/approvals",
            "shield",
        ),
        task(
            pending.rescue,
            "piece of rescued work waits for you",
            "pieces of rescued work wait for you",
            "/console/rescue",
            "buoy",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Tally {
    badge: Badge,
    count: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    today: String,
    tasks: Vec<Task>,
    devices: String,
    tallies: Vec<Tally>,
    unsent: String,
    unsent_devices: u64,
    customers: String,
    done: usize,
    planned: usize,
    running: usize,
    attention: Vec<DeviceRow>,
    visits: Vec<VisitRow>,
}

/// The page.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let now = Utc::now();
    let (devices, customers, today, latest) = console
        .ask(move |admin| {
            Ok((
                admin.devices()?,
                admin.customer_count()?,
                admin.visits_on(now.date_naive())?,
                admin.recent_visits(VISITS)?,
            ))
        })
        .await?;
    let in_use: Vec<&DeviceView> = devices.iter().filter(|device| !is_gone(device.state)).collect();
    let is = |state| today.iter().filter(|visit| visit.state == state).count();
    let page = Page {
        shell: Shell::new(&console, &visitor, Tab::Overview),
        tasks: tasks(visitor.pending),
        today: now.format("%A, %-d %B %Y").to_string(),
        devices: show::count(in_use.len() as u64),
        tallies: tallies(&devices),
        unsent: show::count(in_use.iter().map(|device| device.unsent).sum()),
        unsent_devices: in_use.iter().filter(|device| device.unsent > 0).count() as u64,
        customers: show::count(customers),
        done: is(visit::State::CheckedOut),
        planned: today.len(),
        running: is(visit::State::CheckedIn),
        attention: in_use
            .iter()
            .filter(|device| needs_a_look(device, now))
            .map(|device| DeviceRow::new(device, now))
            .collect(),
        visits: latest.iter().map(|visit| VisitRow::new(visit, now)).collect(),
    };
    render(&visitor, StatusCode::OK, &page)
}

fn tallies(devices: &[DeviceView]) -> Vec<Tally> {
    STATES
        .iter()
        .map(|state| (*state, devices.iter().filter(|device| device.state == *state).count() as u64))
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| Tally { badge: show::device(state), count: show::count(count) })
        .collect()
}

fn needs_a_look(device: &DeviceView, now: DateTime<Utc>) -> bool {
    let heard = device.last_seen.unwrap_or(device.enrolled_at);
    let refused = device.posture.as_ref().is_some_and(|posture| posture.verdict == Verdict::Lock);
    device.state != DeviceStatus::Active || refused || now - heard > TimeDelta::days(SILENT_DAYS)
}
