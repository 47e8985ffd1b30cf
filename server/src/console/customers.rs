//! The customers: browsing and searching them.

use super::Console;
use super::page::{PageError, Shell, Tab, render};
use super::show;
use super::visitor::{Guarded, Visitor};
use crate::admin::CustomerView;
use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

/// Customers on a page.
const PAGE: usize = 50;

/// The longest query that is searched, in characters.
const MAX_QUERY: usize = 100;

struct Row {
    id: Uuid,
    name: String,
    code: String,
    brand: String,
    street: String,
    town: String,
    phone: String,
    territory: String,
    tags: Vec<String>,
    placed: bool,
}

impl From<CustomerView> for Row {
    fn from(customer: CustomerView) -> Self {
        let town = [customer.postcode, customer.city, customer.region];
        Self {
            id: customer.id,
            placed: customer.lat.is_some() && customer.lon.is_some(),
            name: customer.name,
            code: customer.code,
            brand: customer.brand.or(customer.channel).unwrap_or_default(),
            street: customer.address.unwrap_or_default(),
            town: town.into_iter().flatten().collect::<Vec<_>>().join(" "),
            phone: customer.phone.unwrap_or_default(),
            territory: customer.territory,
            tags: customer.tags,
        }
    }
}

#[derive(Template)]
#[template(path = "customers.html")]
struct Page {
    shell: Shell,
    total: String,
    empty: bool,
    query: String,
    rows: Vec<Row>,
    /// Whether this is not the first page.
    later: bool,
    next: Option<Uuid>,
}

#[derive(Deserialize)]
pub(super) struct Place {
    after: Option<Uuid>,
}

/// All of them, a page at a time.
pub(super) async fn list(
    State(console): State<Console>,
    visitor: Visitor,
    Query(place): Query<Place>,
) -> Result<Response, PageError> {
    show_page(&console, &visitor, String::new(), place.after).await
}

#[derive(Deserialize)]
pub(super) struct SearchForm {
    #[serde(default)]
    query: String,
    after: Option<Uuid>,
}

/// Those that match. Sent as a form, because a query may hold a telephone number, and addresses of pages end
/// up in histories and logs.
pub(super) async fn search(
    State(console): State<Console>,
    Guarded { visitor, form }: Guarded<SearchForm>,
) -> Result<Response, PageError> {
    let query = form.query.trim().chars().take(MAX_QUERY).collect();
    show_page(&console, &visitor, query, form.after).await
}

async fn show_page(
    console: &Console,
    visitor: &Visitor,
    query: String,
    after: Option<Uuid>,
) -> Result<Response, PageError> {
    let asked = query.clone();
    let (total, mut found) = console
        .ask(move |admin| Ok((admin.customer_count()?, admin.customers(&asked, after, PAGE + 1)?)))
        .await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let page = Page {
        shell: Shell::new(console, visitor, Tab::Customers),
        total: show::counted(total, "customer"),
        empty: total == 0,
        query,
        later: after.is_some(),
        next: if more { found.last().map(|customer| customer.id) } else { None },
        rows: found.into_iter().map(Row::from).collect(),
    };
    render(visitor, StatusCode::OK, &page)
}
