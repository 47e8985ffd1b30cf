//! From a template to an answer, and the pages for what went wrong.

use super::flash::{self, Flash};
use super::visitor::Visitor;
use super::{Console, assets};
use crate::admin::{AdminError, Pending};
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

/// The entries of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Alerts,
    Devices,
    Visits,
    Customers,
    Conflicts,
    Approvals,
    Rescue,
    Users,
    Rules,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str, &'static str); 10] = [
        (Self::Overview, "/console", "Overview", "home"),
        (Self::Alerts, "/console/alerts", "Alerts", "bell"),
        (Self::Devices, "/console/devices", "Devices", "phone"),
        (Self::Visits, "/console/visits", "Visits", "pin"),
        (Self::Customers, "/console/customers", "Customers", "store"),
        (Self::Conflicts, "/console/conflicts", "Conflicts", "merge"),
        (Self::Approvals, "/console/approvals", "Approvals", "shield"),
        (Self::Rescue, "/console/rescue", "Rescued work", "buoy"),
        (Self::Users, "/console/users", "Users", "users"),
        (Self::Rules, "/console/rules", "Rules", "rules"),
    ];

    /// How much waits behind this entry, in words for its badge and for who hears the page.
    fn waits(self, pending: Pending) -> Option<(String, &'static str)> {
        let (count, what) = match self {
            Self::Alerts => (pending.alerts, "not seen"),
            Self::Approvals => (pending.wipes, "waiting"),
            Self::Rescue => (pending.rescue, "waiting"),
            _ => return None,
        };
        let shown = if count < Pending::MOST { count.to_string() } else { format!("{}+", Pending::MOST - 1) };
        (count > 0).then_some((shown, what))
    }
}

/// One link of the navigation.
pub(super) struct Link {
    pub(super) href: &'static str,
    pub(super) text: &'static str,
    pub(super) icon: &'static str,
    pub(super) here: bool,
    /// How many things wait there, and what for.
    pub(super) waits: Option<(String, &'static str)>,
}

/// What surrounds each page of a signed-in administrator.
pub(super) struct Shell {
    pub(super) version: &'static str,
    pub(super) org: String,
    pub(super) user: String,
    pub(super) csrf: String,
    pub(super) links: Vec<Link>,
    pub(super) flash: Option<Flash>,
}

impl Shell {
    pub(super) fn new(console: &Console, visitor: &Visitor, tab: Tab) -> Self {
        let link = |(entry, href, text, icon): (Tab, _, _, _)| Link {
            href,
            text,
            icon,
            here: entry == tab,
            waits: entry.waits(visitor.pending),
        };
        Self {
            version: assets::version(),
            org: console.admin.org_name().to_owned(),
            user: visitor.user.name.clone(),
            csrf: visitor.csrf.clone(),
            links: Tab::ALL.map(link).into(),
            flash: visitor.flash,
        }
    }
}

/// Renders a page of a signed-in administrator; a message that was shown is not shown again.
pub(super) fn render(
    visitor: &Visitor,
    status: StatusCode,
    page: &impl Template,
) -> Result<Response, PageError> {
    let response = (status, plain(page)?).into_response();
    Ok(if visitor.flash.is_some() { (flash::forget(), response).into_response() } else { response })
}

/// Renders a page without regard to who looks at it.
pub(super) fn plain(page: &impl Template) -> Result<Html<String>, PageError> {
    page.render().map(Html).map_err(|_| PageError::Failed)
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// Nobody is signed in, or not any more.
    #[error("sign in first")]
    SignedOut,
    /// The form did not come from a page of this session.
    #[error("the form is out of date")]
    Forged,
    /// The form lacks what every browser sends.
    #[error("the request can't be understood")]
    Malformed,
    /// The page only shows, or only takes forms.
    #[error("this address does not take requests of that kind")]
    WrongMethod,
    /// There is no such page or record.
    #[error("there is no such page")]
    NotFound,
    /// The file or form is too large.
    #[error("the file is too large")]
    TooLarge,
    /// Other sessions' files or codes take all the room.
    #[error("too many things at a time")]
    Busy,
    /// An act was refused, and the page had nothing to say about it.
    #[error(transparent)]
    Refused(AdminError),
    /// The server failed.
    #[error("the server failed")]
    Failed,
}

impl From<AdminError> for PageError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::NotFound,
            AdminError::Keys | AdminError::Storage(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a console page failed");
                Self::Failed
            }
            other => Self::Refused(other),
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    version: &'static str,
    code: u16,
    title: &'static str,
    text: String,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::SignedOut => return Redirect::to("/console/sign-in").into_response(),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "This form is out of date",
                "Nothing was changed. Go back, reload the page and send it again.".to_owned(),
            ),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "That did not arrive in one piece",
                "Nothing was changed. Go back, reload the page and try again.".to_owned(),
            ),
            Self::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "Nothing to see at this address",
                "It only takes forms. Start again from the overview.".to_owned(),
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Page not found",
                "It may have been moved, or it has expired. Start again from the overview.".to_owned(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "That file is too large",
                "Files of up to 32 MB can be imported. Split it and import the parts one after the other."
                    .to_owned(),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Busy right now",
                "Other administrators are in the middle of the same. Try again in a few minutes.".to_owned(),
            ),
            Self::Refused(error) => (StatusCode::CONFLICT, "That was refused", sentence(&error)),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "Nothing was changed. Try again in a moment; the server's log says more.".to_owned(),
            ),
        };
        let page = ErrorPage { version: assets::version(), code: status.as_u16(), title, text };
        match page.render() {
            Ok(html) => (status, Html(html)).into_response(),
            Err(_) => status.into_response(),
        }
    }
}

/// An error's message as a sentence for people.
pub(super) fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
