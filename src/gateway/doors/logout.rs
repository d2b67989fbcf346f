//! Logout tokens (OpenID Connect Back-Channel Logout 1.0): what a server says ends a session's
//! tokens, or a user's.

use std::time::Duration;

use http::{Response, StatusCode};

use super::{Door, Form, answer as respond, error, invalid};
use crate::base::time::{self, Now};
use crate::body::Body;
use crate::oauth::{ClientId, Mark, MarkKind};
use crate::revocation::{Entry, Reach};
use crate::telemetry::RevocationDoor;
use crate::verify::Logout;

/// Answers a request with a logout token: 200 once its tokens are refused, whether there are any or
/// not; 400 for whatever is wrong (§2.8).
pub(super) async fn answer(
    door: &Door,
    clients: &[ClientId],
    form: &Form,
    keep: Duration,
) -> Response<Body> {
    let now = time::now();
    let Some(token) = form.only("logout_token") else {
        return refused(door, "logout_token is missing, or there more than once");
    };
    let logout = match door.server.check_logout(&token, clients, now).await {
        Ok(logout) => logout,
        Err(fault) => return refused(door, fault.text()),
    };
    let issuer = door.server.settings().issuer.as_str();
    let id = Mark::of(MarkKind::Jti, issuer, &logout.id);
    let until = logout.expires.plus(door.server.settings().clock_skew);
    if !door.list.is_first(id, until, now.unix) {
        return refused(door, "this logout token was received before");
    }
    let entry = entry(issuer, &logout, keep, now);
    match door.list.enter(vec![entry], RevocationDoor::Logout).await {
        Ok(()) => respond(StatusCode::OK, Body::empty(), None),
        Err(failure) => {
            door.list.unsee(&id);
            error(StatusCode::BAD_REQUEST, "server_error", &failure.to_string())
        }
    }
}

fn refused(door: &Door, why: &str) -> Response<Body> {
    door.list.refused(RevocationDoor::Logout);
    // Any stranger can send one.
    tracing::debug!(server = %door.server.settings().name, error = why, "logout token refused");
    invalid(why)
}

/// §2.7: one session, or all that the user had when it logged out.
fn entry(issuer: &str, logout: &Logout, keep: Duration, now: Now) -> Entry {
    let until = now.unix.plus(keep);
    let (kind, text, issued_before) = match (&logout.session, &logout.subject) {
        (Some(session), _) => (MarkKind::Sid, session, None),
        (None, Some(subject)) => {
            // Of the second of the logout, too: nobody is back that soon.
            let next = logout.issued_at.plus(Duration::from_secs(1));
            (MarkKind::Subject, subject, Some(next))
        }
        (None, None) => (MarkKind::Jti, &logout.id, None), // no good token is without both
    };
    Entry { mark: Mark::of(kind, issuer, text), reach: Reach { until, issued_before } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::UnixSeconds;

    #[test]
    fn bcl_2_7_sid_is_one_session_and_sub_alone_all_until_now() {
        let logout = |subject: Option<&str>, session: Option<&str>| Logout {
            subject: subject.map(Box::from),
            session: session.map(Box::from),
            issued_at: UnixSeconds::new(100),
            expires: UnixSeconds::new(200),
            id: "j".into(),
        };
        let now = time::now();
        let made = |logout| entry("https://as.test", &logout, Duration::from_secs(60), now);
        let mark = |kind, text| Mark::of(kind, "https://as.test", text);
        for (subject, session, expected, before) in [
            (Some("u"), Some("s"), mark(MarkKind::Sid, "s"), None),
            (None, Some("s"), mark(MarkKind::Sid, "s"), None),
            (Some("u"), None, mark(MarkKind::Subject, "u"), Some(UnixSeconds::new(101))),
        ] {
            let entry = made(logout(subject, session));
            assert_eq!((entry.mark, entry.reach.issued_before), (expected, before));
            assert_eq!(entry.reach.until, now.unix.plus(Duration::from_secs(60)));
        }
    }
}
