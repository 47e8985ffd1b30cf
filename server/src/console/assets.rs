//! The stylesheet, the scripts and the mark, built into the binary.

use super::page::PageError;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    media: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "console.css",
        media: "text/css; charset=utf-8",
        text: include_str!("../../static/console.css"),
    },
    Asset {
        name: "console.js",
        media: "text/javascript; charset=utf-8",
        text: include_str!("../../static/console.js"),
    },
    Asset {
        name: "approve.js",
        media: "text/javascript; charset=utf-8",
        text: include_str!("../../static/approve.js"),
    },
    Asset { name: "mark.svg", media: "image/svg+xml", text: include_str!("../../static/mark.svg") },
];

/// Names this build's files in their addresses, so that browsers may keep them for a year.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in &ASSETS {
        hash.update(asset.text);
    }
    roundsman_protocol::b64::encode(&hash.finalize()[..9])
});

/// The version for the addresses of static files.
pub(super) fn version() -> &'static str {
    &VERSION
}

/// A static file.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, PageError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(PageError::NotFound)?;
    let headers =
        [(header::CONTENT_TYPE, asset.media), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.text).into_response())
}
