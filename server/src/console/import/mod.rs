//! Bringing customers in from a CSV file: choose a file, say which column holds what, see what came of it.
//!
//! The file stays on the server between the steps, on the session's shelf; the browser only names its job.

mod form;
mod job;

pub(super) use job::Job;

use super::Console;
use super::page::{PageError, Shell, Tab, plain, render, sentence};
use super::show;
use super::visitor::{Guarded, Visitor};
use crate::admin::{ImportError, ImportReport, RowError};
use askama::Template;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use form::{FieldRow, MappingForm};
use job::{Stage, Table};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use uuid::Uuid;

/// The largest file: 32 MB.
pub(super) const MAX_UPLOAD: usize = 32 * 1024 * 1024;

/// How many refused rows the result lists.
const LISTED: usize = 500;

#[derive(Template)]
#[template(path = "import.html")]
struct ChoosePage {
    shell: Shell,
    error: Option<String>,
}

/// The form for the file.
pub(super) async fn choose(State(console): State<Console>, visitor: Visitor) -> Result<Response, PageError> {
    choose_page(&console, &visitor, StatusCode::OK, None)
}

fn choose_page(
    console: &Console,
    visitor: &Visitor,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, PageError> {
    let page = ChoosePage { shell: Shell::new(console, visitor, Tab::Customers), error };
    render(visitor, status, &page)
}

/// Takes the file. The form's token must come before it, so that nothing of a forged upload is kept.
pub(super) async fn upload(
    State(console): State<Console>,
    visitor: Visitor,
    mut parts: Multipart,
) -> Result<Response, PageError> {
    let token = parts.next_field().await.map_err(broken)?.filter(|part| part.name() == Some("csrf"));
    let token = token.ok_or(PageError::Forged)?.text().await.map_err(broken)?;
    visitor.check(&token)?;
    let file = parts.next_field().await.map_err(broken)?.filter(|part| part.name() == Some("file"));
    let file = file.ok_or(PageError::Malformed)?;
    let name = file.file_name().unwrap_or_default().to_owned();
    let bytes = collect(file).await?;
    let read =
        tokio::task::spawn_blocking(move || Table::read(name, bytes)).await.map_err(|_| PageError::Failed)?;
    match read {
        Ok(table) => {
            let job = Job::new(table);
            let id =
                console.imports.put(visitor.session, Instant::now(), job).map_err(|_| PageError::Busy)?;
            Ok(Redirect::to(&format!("/console/import/{id}")).into_response())
        }
        Err(error) => {
            choose_page(&console, &visitor, StatusCode::UNPROCESSABLE_ENTITY, Some(sentence(&error)))
        }
    }
}

async fn collect(mut file: Field<'_>) -> Result<Vec<u8>, PageError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = file.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > MAX_UPLOAD {
            return Err(PageError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn broken(error: MultipartError) -> PageError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE { PageError::TooLarge } else { PageError::Malformed }
}

#[derive(Template)]
#[template(path = "import_mapping.html")]
struct MappingPage {
    shell: Shell,
    action: String,
    file: String,
    rows: String,
    headers: Vec<String>,
    sample: Vec<Vec<String>>,
    fields: Vec<FieldRow>,
    form: MappingForm,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "import_running.html")]
struct RunningPage {
    version: &'static str,
    file: String,
    read: u64,
    total: u64,
    read_text: String,
    total_text: String,
}

#[derive(Template)]
#[template(path = "import_done.html")]
struct DonePage {
    shell: Shell,
    file: String,
    read: String,
    created: String,
    updated: String,
    unchanged: String,
    refused: String,
    rejected: Vec<RowError>,
    left_out: usize,
}

/// Whatever the job has come to: the mapping, the progress, or the result.
pub(super) async fn show(
    State(console): State<Console>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Response, PageError> {
    enum View {
        Mapping(MappingPage),
        Running(RunningPage),
        Done(DonePage),
    }
    let look = |job: &mut Job| match &job.stage {
        Stage::Mapping { form, error } => View::Mapping(MappingPage {
            shell: Shell::new(&console, &visitor, Tab::Customers),
            action: format!("/console/import/{id}"),
            file: job.table.name.clone(),
            rows: show::counted(job.table.rows, "row"),
            headers: job.table.headers.clone(),
            sample: job.table.sample.clone(),
            fields: form.rows(),
            form: form.clone(),
            error: error.clone(),
        }),
        Stage::Running { read } => {
            let read = read.load(Ordering::Relaxed).min(job.table.rows);
            View::Running(RunningPage {
                version: super::assets::version(),
                file: job.table.name.clone(),
                read,
                total: job.table.rows,
                read_text: show::count(read),
                total_text: show::counted(job.table.rows, "row"),
            })
        }
        Stage::Done(report) => View::Done(done_page(&console, &visitor, &job.table.name, report)),
    };
    let view = console.imports.with(visitor.session, id, Instant::now(), look).ok_or(PageError::NotFound)?;
    match view {
        View::Mapping(page) => {
            let status = if page.error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            render(&visitor, status, &page)
        }
        View::Running(page) => Ok(plain(&page)?.into_response()),
        View::Done(page) => render(&visitor, StatusCode::OK, &page),
    }
}

fn done_page(console: &Console, visitor: &Visitor, file: &str, report: &ImportReport) -> DonePage {
    let refused = report.rejected.len();
    DonePage {
        shell: Shell::new(console, visitor, Tab::Customers),
        file: file.to_owned(),
        read: show::counted(report.read, "row"),
        created: show::count(report.created),
        updated: show::count(report.updated),
        unchanged: show::count(report.unchanged),
        refused: show::count(refused as u64),
        rejected: report.rejected.iter().take(LISTED).cloned().collect(),
        left_out: refused.saturating_sub(LISTED),
    }
}

/// Starts the import with the columns as chosen; it goes on when nobody looks.
pub(super) async fn start(
    State(console): State<Console>,
    Path(id): Path<Uuid>,
    Guarded { visitor, form }: Guarded<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let progress = Arc::new(AtomicU64::new(0));
    let begin = |job: &mut Job| job.begin(&form, &progress);
    let started =
        console.imports.with(visitor.session, id, Instant::now(), begin).ok_or(PageError::NotFound)?;
    if let Some((bytes, mapping)) = started {
        let (actor, session) = (visitor.id(), visitor.session);
        let (admin, imports) = (console.admin.clone(), console.imports.clone());
        tokio::task::spawn_blocking(move || {
            let mut tell = |read| progress.store(read, Ordering::Relaxed);
            let outcome = admin.import_customers(actor, bytes.as_slice(), &mapping, &mut tell);
            imports
                .with(session, id, Instant::now(), |job| job.end(outcome.map_err(|error| explain(&error))));
        });
    }
    Ok(Redirect::to(&format!("/console/import/{id}")).into_response())
}

fn explain(error: &ImportError) -> String {
    match error {
        ImportError::ColumnMissing(field) => format!("Say which column holds: {}.", show::field(field)),
        other => sentence(other),
    }
}
