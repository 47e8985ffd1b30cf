//! Who looks at a page, and the forms they send.

use super::flash::{self, Flash};
use super::page::PageError;
use super::{Console, MAX_FORM};
use crate::admin::{Pending, UserView};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use roundsman_model::UserId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const SESSION: &str = "__Host-roundsman";

/// Names a session without being the secret that opens it.
pub(super) type SessionKey = [u8; 32];

/// A signed-in administrator.
pub(super) struct Visitor {
    pub(super) user: UserView,
    pub(super) csrf: String,
    pub(super) session: SessionKey,
    pub(super) flash: Option<Flash>,
    /// What waits for somebody, for the navigation.
    pub(super) pending: Pending,
}

impl Visitor {
    /// The id under which acts are recorded.
    pub(super) fn id(&self) -> UserId {
        self.user.id
    }

    /// Whether a form came from a page of this session.
    ///
    /// # Errors
    /// [`PageError::Forged`].
    pub(super) fn check(&self, csrf: &str) -> Result<(), PageError> {
        same(&self.csrf, csrf).then_some(()).ok_or(PageError::Forged)
    }
}

impl FromRequestParts<Console> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, PageError> {
        let jar = CookieJar::from_headers(&parts.headers);
        let token = session_token(&jar).ok_or(PageError::SignedOut)?;
        let session = Sha256::digest(&token).into();
        let signed_in = console.run(move |admin| admin.session(&token)).await?.ok_or(PageError::SignedOut)?;
        let pending = console.ask(crate::Admin::pending).await?;
        let flash = flash::waiting(&jar);
        Ok(Self { user: signed_in.user, csrf: signed_in.csrf, session, flash, pending })
    }
}

/// A form, sent by a signed-in administrator from a page of the same session.
pub(super) struct Guarded<T> {
    pub(super) visitor: Visitor,
    pub(super) form: T,
}

/// A form with nothing but its button.
#[derive(Deserialize)]
pub(super) struct Nothing {}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<Console> for Guarded<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, console: &Console) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let body = to_bytes(body, MAX_FORM).await.map_err(|_| PageError::TooLarge)?;
        let token: Token = read(&parts, body.clone()).await.map_err(|_| PageError::Forged)?;
        visitor.check(&token.csrf)?;
        Ok(Self { visitor, form: read(&parts, body).await? })
    }
}

async fn read<T: DeserializeOwned>(parts: &Parts, body: Bytes) -> Result<T, PageError> {
    let request = Request::from_parts(parts.clone(), Body::from(body));
    let Form(form) = Form::from_request(request, &()).await.map_err(|_| PageError::Malformed)?;
    Ok(form)
}

/// The secret of the session that a browser claims to have.
pub(super) fn session_token(jar: &CookieJar) -> Option<String> {
    jar.get(SESSION).map(|cookie| cookie.value().to_owned())
}

/// The cookie that begins a session.
pub(super) fn session_cookie(token: String) -> Cookie<'static> {
    own_cookie(SESSION, token)
}

/// The cookie that ends it.
pub(super) fn no_session_cookie() -> Cookie<'static> {
    let mut cookie = own_cookie(SESSION, String::new());
    cookie.make_removal();
    cookie
}

/// A cookie that goes to this host alone, over TLS alone, out of reach of scripts and of other sites' links
/// (RFC 6265bis section 4.1.3: the `__Host-` prefix).
pub(super) fn own_cookie(name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Strict).build()
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(super) fn same(ours: &str, theirs: &str) -> bool {
    !ours.is_empty() && bool::from(ours.as_bytes().ct_eq(theirs.as_bytes()))
}
