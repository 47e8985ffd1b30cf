//! Access tokens: kept in memory while they hold, renewed with the refresh token in the vault.

use crate::Error;
use crate::net::{Api, Endpoint};
use crate::platform::{Clock, Entropy};
use crate::store::Store;
use chrono::{DateTime, TimeDelta, Utc};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{TokenRequest, Tokens};
use uuid::Uuid;
use zeroize::Zeroizing;

const REFRESH: &str = "refresh_token";
/// The id of the refresh that is under way, kept so that a repeat after a lost answer is known as one.
const REFRESH_REQUEST: &str = "refresh_request";

/// Renew this long before the token ends, so that it holds for the request.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// A token for requests.
pub(crate) struct AccessToken {
    text: Zeroizing<String>,
    ends: DateTime<Utc>,
}

impl AccessToken {
    /// Stores the refresh token and returns the access token.
    pub(crate) fn keep(tokens: Tokens, store: &Store, now: DateTime<Utc>) -> Result<Self, Error> {
        let refresh = Zeroizing::new(tokens.refresh);
        store.set_secret(REFRESH, &refresh)?;
        store.set_secret(REFRESH_REQUEST, "")?;
        let ends = now + TimeDelta::seconds(i64::from(tokens.expires_in_s)) - MARGIN;
        Ok(Self { text: Zeroizing::new(tokens.access), ends })
    }

    /// The token, if it still holds.
    pub(super) fn valid(&self, now: DateTime<Utc>) -> Option<Zeroizing<String>> {
        (now < self.ends).then(|| self.text.clone())
    }

    /// Fetches a new one with the refresh token. A request that was begun and not answered is repeated as it was.
    pub(super) async fn refresh(
        api: &Api,
        endpoint: &Endpoint,
        store: &Store,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let refresh = store.secret(REFRESH)?.ok_or(Error::Server(ErrorCode::TokenInvalid.into()))?;
        let begun = store.secret(REFRESH_REQUEST)?.and_then(|id| Uuid::parse_str(&id).ok());
        let request = match begun {
            Some(request) => request,
            None => {
                let request = entropy.uuid(clock.now())?;
                store.set_secret(REFRESH_REQUEST, &request.to_string())?;
                request
            }
        };
        let body = TokenRequest { refresh: refresh.to_string(), request };
        let tokens: Tokens = api.post(endpoint, "/v1/token", None, &body).await?;
        Self::keep(tokens, store, clock.now())
    }
}
