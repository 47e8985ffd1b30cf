//! `POST /v1/poke`: a channel that stays open, and says when there is something to fetch. It needs the device's key, and
//! works while it is locked or being wiped; only with an access token does it tell of changes.

use super::Shared;
use super::proof::access_token;
use crate::poke::{Seat, scope};
use crate::refusal::Refusal;
use crate::tokens;
use crate::worker::work;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use roundsman_protocol::ErrorCode;
use roundsman_protocol::poke::{HEARTBEAT, PATH, Poke};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a channel stays open: then the device shows again who it is.
const LIFE: Duration = Duration::from_hours(1);

pub(super) async fn post(State(api): State<Shared>, headers: HeaderMap) -> Result<Response, Refusal> {
    let seat = work(move || {
        let app = &api.app;
        let access =
            headers.contains_key(header::AUTHORIZATION).then(|| access_token(&headers)).transpose()?;
        let key = api.proofs.check(app, &headers, PATH, access)?;
        let (device, user) = {
            let tx = app.storage.read()?;
            match access {
                Some(access) => {
                    let now_ms = app.now().timestamp_millis();
                    let device = tokens::authorise(tx.as_ref(), &key, access, now_ms)?;
                    (device.id, Some(device.user))
                }
                None => (tx.device_by_key(key.thumbprint())?.ok_or(ErrorCode::DeviceUnknown)?.id, None),
            }
        };
        let seat = api.seats.sit(device, user).ok_or(ErrorCode::Busy)?;
        // Read only now: of what changes from here on, the seat is told.
        if user.is_some() {
            seat.hear(scope(app, device)?);
        }
        Ok(seat)
    })
    .await?;
    let channel = Channel { seat, until: Instant::now() + LIFE, begun: false };
    let lines = stream::unfold(channel, |mut channel| async move {
        let poke = channel.next().await?;
        let line = format!("{}\n", poke.to_text());
        Some((Ok::<_, Infallible>(Bytes::from(line)), channel))
    });
    let kind = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        // Whatever stands between must hand each line on as it comes.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((kind, Body::from_stream(lines)).into_response())
}

struct Channel {
    seat: Seat,
    until: Instant,
    begun: bool,
}

impl Channel {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Poke> {
        // The client syncs once it hears this: what it missed meanwhile is there.
        if !std::mem::replace(&mut self.begun, true) {
            return Some(Poke::Here);
        }
        let now = Instant::now();
        if now >= self.until {
            return None;
        }
        match timeout_at(now + HEARTBEAT, self.seat.poke()).await {
            Ok(poke) => poke,
            Err(_) => Some(Poke::Here),
        }
    }
}
