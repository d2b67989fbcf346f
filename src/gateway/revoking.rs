//! A token that the operator revokes: what goes on the list for it.

use std::time::Duration;

use super::snapshot::Snapshot;
use crate::base::time::Now;
use crate::oauth::RawToken;
use crate::revocation::Entry;

impl Snapshot {
    /// What goes on the list for a token, whichever authorization server it is of; verdicts about
    /// it, and what was given for it, are forgotten. An entry lives for `keep` where nothing says when the token ends.
    ///
    /// Says as well whether that is all that should be there: where the keys cannot be had that
    /// would prove a JWT, it is refused by its digest, and written anew it may pass.
    pub async fn revocations_of(
        &self,
        token: &str,
        keep: Duration,
        now: Now,
    ) -> (Vec<Entry>, bool) {
        let token = RawToken::new(token);
        self.forget_exchanged(&token.digest());
        let (mut entries, mut is_whole) = (Vec::new(), true);
        for server in self.servers() {
            let known = server.forget(token.digest(), now);
            let proven = match known {
                Some(known) => Some(known),
                None => {
                    let proven = server.identify(token, now).await;
                    is_whole &= proven.is_ok();
                    proven.ok().flatten().map(Into::into)
                }
            };
            entries.extend(proven.iter().flat_map(|one| Entry::of_token(one, keep, now.unix)));
        }
        if entries.is_empty() {
            entries.push(Entry::of_digest(&token.digest(), now.unix.plus(keep)));
        }
        (entries, is_whole)
    }
}
