//! The rules as they stand: who approves wipes, how long a phone may stay away, what the app asks of phone and rep.
//!
//! They are changed on the server's machine, where the root key can be put in for a moment; here they are only shown.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show::{self, Badge, When};
use super::visitor::Visitor;
use crate::admin::RootView;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::policy::{LastAttempt, PasscodeProfile, Policy};
use roundsman_protocol::posture::Verdict;

/// A rule in words.
type Pair = (&'static str, String);

struct Approver {
    name: String,
    key: String,
}

#[derive(Template)]
#[template(path = "rules.html")]
struct Page {
    shell: Shell,
    approvers: Vec<Approver>,
    threshold: u8,
    /// Whether the approvers are fewer than a wipe takes, or just as many: then the loss of one key stops all wipes.
    none_spare: bool,
    expires: When,
    lease: Vec<Pair>,
    policy: Vec<Pair>,
    posture: Vec<(&'static str, Badge)>,
}

/// The page.
pub(super) async fn page(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    let (root, policy, terms) =
        console.ask(|admin| Ok((admin.root()?, admin.policy()?, admin.lease_terms()?))).await?;
    let now = Utc::now();
    let page = Page {
        shell: Shell::new(&console, &visitor, Tab::Rules),
        none_spare: root.approvers.len() <= usize::from(root.approver_threshold),
        threshold: root.approver_threshold,
        expires: expiry(&root, now),
        approvers: root
            .approvers
            .into_iter()
            .map(|approver| Approver { name: approver.label, key: approver.id.to_string() })
            .collect(),
        lease: vec![
            ("The rep is warned after", hours(terms.warn_after_s)),
            ("The app no longer opens after", days(terms.lock_after_s)),
            ("The phone wipes itself after", terms.wipe_after_s.map_or_else(|| "never".to_owned(), days)),
        ],
        policy: passcodes(&policy),
        posture: posture(&policy),
    };
    render(&visitor, StatusCode::OK, &page)
}

fn expiry(root: &RootView, now: DateTime<Utc>) -> When {
    When::new(root.expires_at, now)
}

fn days(seconds: u32) -> String {
    show::counted((seconds / Lease::DAY_S).into(), "day")
}

fn hours(seconds: u32) -> String {
    show::counted((seconds / 3_600).into(), "hour")
}

fn passcodes(policy: &Policy) -> Vec<Pair> {
    let profile = match policy.passcode {
        PasscodeProfile::Rotating => "changed every 90 days, none of the last five again",
        PasscodeProfile::Nist => "changed only when it may be known to others",
    };
    let last = match policy.last_attempt {
        LastAttempt::ByHardware => "locks the phone, or wipes it where its keys are not in secure hardware",
        LastAttempt::Lock => "locks the phone",
        LastAttempt::Wipe => "wipes the phone; unsent work is handed over",
    };
    let idle = match (policy.idle_lock_s / 60, policy.idle_lock_s % 60) {
        (0, seconds) => show::counted(seconds.into(), "second"),
        (minutes, 0) => show::counted(minutes.into(), "minute"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    };
    vec![
        ("Passcodes are", profile.to_owned()),
        ("The tenth wrong passcode", last.to_owned()),
        ("The app closes without a touch after", idle),
        ("Fingerprint or face", (if policy.biometrics { "may open the app" } else { "not used" }).to_owned()),
    ]
}

fn posture(policy: &Policy) -> Vec<(&'static str, Badge)> {
    let rules = &policy.posture;
    let badge = |verdict| match verdict {
        Verdict::Allow => Badge { tone: "grey", text: "Nothing" },
        Verdict::Warn => Badge { tone: "amber", text: "Warning" },
        Verdict::Lock => Badge { tone: "red", text: "The app does not open" },
    };
    vec![
        ("Rooted or jailbroken", badge(rules.rooted)),
        ("A debugger is attached", badge(rules.debugger)),
        ("An emulator", badge(rules.emulator)),
        ("No screen lock", badge(rules.no_screen_lock)),
        ("Security patches too old", badge(rules.old_patches)),
    ]
}
