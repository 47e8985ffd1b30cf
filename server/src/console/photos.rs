//! What is attached to a visit.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show::When;
use super::visitor::Visitor;
use crate::admin::AttachmentView;
use crate::attachments::Given;
use crate::refusal::Refusal;
use askama::Template;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream;
use roundsman_model::attachment::Sort;
use uuid::Uuid;

/// Pictures that a browser shows by itself. Everything else is saved to a file: it may hold script.
const PICTURES: [&str; 4] = ["image/jpeg", "image/png", "image/webp", "image/gif"];

/// An attachment as a card.
struct Card {
    id: Uuid,
    what: &'static str,
    author: String,
    added: When,
    size: String,
    stored: bool,
    picture: bool,
    /// Whether a small picture is shown beside it.
    small: bool,
}

impl Card {
    fn new(view: &AttachmentView, now: DateTime<Utc>) -> Self {
        Self {
            id: view.id,
            what: match view.sort {
                Sort::Photo => "Photo",
                Sort::Signature => "Signature",
                Sort::File => "File",
            },
            author: view.author.clone(),
            added: When::new(view.added_at, now),
            size: size(view.size),
            stored: view.stored,
            picture: picture(&view.media_type).is_some(),
            small: view.stored && view.small,
        }
    }
}

fn picture(media_type: &str) -> Option<&'static str> {
    PICTURES.into_iter().find(|known| known.eq_ignore_ascii_case(media_type))
}

fn size(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{} kB", bytes.div_ceil(1_000))
    } else {
        format!("{:.1} MB", bytes as f64 / 1e6)
    }
}

#[derive(Template)]
#[template(path = "photos.html")]
struct PhotosPage {
    shell: Shell,
    cards: Vec<Card>,
}

/// What is attached to a visit. Photos have a small picture, which the browser fetches once it comes into sight;
/// everything else is shown when somebody opens it. Each look is recorded, at a small picture too.
pub(super) async fn of_visit(
    State(console): State<Console>,
    visitor: Visitor,
    Path(visit): Path<Uuid>,
) -> Result<Response, PageError> {
    let now = Utc::now();
    let found = console.ask(move |admin| admin.attachments_of_visit(visit)).await?;
    let cards = found.iter().map(|view| Card::new(view, now)).collect();
    render(
        &visitor,
        StatusCode::OK,
        &PhotosPage { shell: Shell::new(&console, &visitor, Tab::Visits), cards },
    )
}

/// The content of one.
pub(super) async fn content(
    State(console): State<Console>,
    visitor: Visitor,
    Path(attachment): Path<Uuid>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let (view, given) = console.ask(move |admin| admin.open_attachment(actor, attachment)).await?;
    let (kind, how) = match picture(&view.media_type) {
        Some(kind) => (kind, "inline".to_owned()),
        None => ("application/octet-stream", format!("attachment; filename=\"{attachment}\"")),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, how),
        (header::CONTENT_LENGTH, given.left().to_string()),
    ];
    Ok((headers, body(given)).into_response())
}

/// The small picture of a photo.
pub(super) async fn thumbnail(
    State(console): State<Console>,
    visitor: Visitor,
    Path(attachment): Path<Uuid>,
) -> Result<Response, PageError> {
    let actor = visitor.id();
    let small = console.ask(move |admin| admin.open_thumbnail(actor, attachment)).await?;
    let jpeg = small.jpeg().await.map_err(|refusal| match refusal {
        Refusal::Problem(_) => PageError::NotFound,
        failed => {
            tracing::error!(error = &failed as &dyn std::error::Error, "a thumbnail could not be made");
            PageError::Failed
        }
    })?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], jpeg.to_vec()).into_response())
}

fn body(given: Given) -> Body {
    Body::from_stream(stream::try_unfold(given, |mut given| async move {
        Ok::<_, Refusal>(given.next().await?.map(|part| (part, given)))
    }))
}
