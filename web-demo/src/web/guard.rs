//! Who may talk to the demo: a browser on this machine, from the demo's own pages.
//!
//! Listening on loopback keeps other machines out, but not other websites in the same browser. A name that a
//! stranger points at 127.0.0.1 (DNS rebinding) fails the check of `Host`; a form or script of another site
//! fails the check of `Origin` (OWASP: Cross-Site Request Forgery Prevention, verifying origin).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The names under which the demo may be addressed.
#[derive(Clone, Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub(super) fn of_port(port: u16) -> Self {
        Self(["127.0.0.1", "localhost", "[::1]"].iter().map(|host| format!("{host}:{port}")).collect())
    }

    fn admits(&self, method: &Method, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let addressed = text(header::HOST).is_some_and(|host| self.knows(host));
        let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        let own = origin.is_some_and(|origin| self.knows(origin));
        addressed && (own || (method.is_safe() && text(header::ORIGIN).is_none()))
    }

    fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Refuses strangers, and gives every answer the headers that keep a page to itself.
pub(super) async fn guard(State(names): State<Names>, request: Request, next: Next) -> Response {
    if !names.admits(request.method(), request.headers()) {
        return (StatusCode::FORBIDDEN, "this page is only for a browser on this machine\n").into_response();
    }
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
             frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(method: Method, headers: &[(HeaderName, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Names::of_port(7070).admits(&method, &headers.collect())
    }

    #[test]
    fn a_rebound_name_is_refused() {
        assert!(admits(Method::GET, &[(header::HOST, "127.0.0.1:7070")]));
        assert!(admits(Method::GET, &[(header::HOST, "localhost:7070")]));
        for host in ["evil.example:7070", "127.0.0.1:7071", "127.0.0.1", ""] {
            assert!(!admits(Method::GET, &[(header::HOST, host)]), "{host}");
        }
        assert!(!admits(Method::GET, &[]));
    }

    #[test]
    fn another_site_can_not_press_a_button() {
        let host = (header::HOST, "127.0.0.1:7070");
        assert!(admits(Method::POST, &[host.clone(), (header::ORIGIN, "http://127.0.0.1:7070")]));
        assert!(!admits(Method::POST, std::slice::from_ref(&host)));
        for origin in ["https://evil.example", "null", "http://127.0.0.1:7071"] {
            assert!(!admits(Method::POST, &[host.clone(), (header::ORIGIN, origin)]), "{origin}");
            assert!(!admits(Method::GET, &[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
    }
}
