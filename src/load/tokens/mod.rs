//! Where the tokens of a run come from: given, minted against a local key, or fetched by client
//! credentials; and in which order which kinds of them are sent.
//!
//! All tokens are made before the first request: nothing of a run measures the making.

pub mod client_credentials;
pub mod key;
pub mod kind;
pub mod mint;
pub mod mix;

use std::fmt;

pub use client_credentials::{ClientCredentials, FetchError, SecretArgument};
pub use key::{KeyError, MintKey};
pub use kind::TokenKind;
pub use mint::Mint;
pub use mix::Mix;

use super::supply::{Credential, InvalidCredential, Supply};
use crate::base::time::UnixSeconds;

/// How many tokens, and of which kinds.
#[derive(Clone, Debug)]
pub struct Order {
    /// The kinds.
    pub mix: Mix,
    /// How many tokens differ, all kinds together; rounded up to whole rounds of the mix.
    pub distinct: usize,
}

/// Why there are no tokens to send.
#[derive(Debug)]
pub enum TokenError {
    /// They cannot be minted.
    Key(KeyError),
    /// They cannot be fetched.
    Fetch(FetchError),
    /// One of them cannot be sent.
    Credential(InvalidCredential),
    /// The mix has kinds that only whoever has the key can make.
    NeedsKey,
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(formatter),
            Self::Fetch(error) => error.fmt(formatter),
            Self::Credential(error) => error.fmt(formatter),
            Self::NeedsKey => formatter.write_str(
                "bad tokens are minted: --mix with other kinds than good and none needs --mint KEY",
            ),
        }
    }
}

impl std::error::Error for TokenError {}

impl From<KeyError> for TokenError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<InvalidCredential> for TokenError {
    fn from(error: InvalidCredential) -> Self {
        Self::Credential(error)
    }
}

/// Mints tokens on all threads of the machine; `done` is told how many there are, of how many.
/// Blocks.
///
/// # Errors
/// When the key does not sign.
pub fn minted(
    mint: &Mint,
    order: &Order,
    now: UnixSeconds,
    done: &(dyn Fn(usize, usize) + Sync),
) -> Result<Supply, TokenError> {
    let layout = order.mix.layout(order.distinct);
    let tokens = mint.tokens(&layout, now, &|count| done(count, layout.len()))?;
    Ok(laid_out(&layout, &tokens)?)
}

/// Fetches tokens; `done` is told how many there are, of how many.
///
/// # Errors
/// When the mix has kinds that are minted, or the token endpoint gives no token.
pub async fn fetched(
    client: &ClientCredentials,
    order: &Order,
    done: impl Fn(usize, usize),
) -> Result<Supply, TokenError> {
    if order.mix.needs_minting() {
        return Err(TokenError::NeedsKey);
    }
    let layout = order.mix.layout(order.distinct);
    let count = layout.iter().filter(|kind| **kind == TokenKind::Good).count();
    let tokens =
        client.fetch(count, |fetched| done(fetched, count)).await.map_err(TokenError::Fetch)?;
    given(&tokens, &order.mix)
}

/// Takes tokens that are there; each is sent once a round, and the mix says what is between them.
///
/// # Errors
/// When the mix has kinds that are minted, or a token cannot be sent.
pub fn given(tokens: &[String], mix: &Mix) -> Result<Supply, TokenError> {
    if mix.needs_minting() {
        return Err(TokenError::NeedsKey);
    }
    let round = mix.round();
    let good = round.iter().filter(|kind| **kind == TokenKind::Good).count();
    if good > 0 && tokens.is_empty() {
        return Err(TokenError::Credential(InvalidCredential::None));
    }
    // So many rounds that every token has its turn and all have it equally often.
    let rounds = if good == 0 { 1 } else { least_rounds(tokens.len(), good) };
    let layout = mix.layout(round.len() * rounds);
    let kinds = Kinds::of(&layout);
    // Made once and cloned, which shares the bytes: a token may stand in many rounds.
    let ready = tokens.iter().map(|token| Credential::bearer(token, kinds.index(TokenKind::Good)));
    let ready = ready.collect::<Result<Vec<_>, _>>()?;
    let mut turns = ready.iter().cycle();
    let credentials = layout.iter().filter_map(|kind| match kind {
        TokenKind::None => Some(Credential::absent(kinds.index(*kind))),
        _ => turns.next().cloned(),
    });
    Ok(Supply::new(credentials.collect(), kinds.names())?)
}

/// The fewest rounds of `good` tokens each that hold all of `tokens` equally often, as long as that
/// is not a great many: then each at least once.
fn least_rounds(tokens: usize, good: usize) -> usize {
    let exact = (1..=good).find(|times| (tokens * times).is_multiple_of(good));
    match exact {
        Some(times) if tokens * times <= CREDENTIALS_MAX => tokens * times / good,
        _ => tokens.div_ceil(good),
    }
    .max(1)
}

/// Credentials in the order of a layout, one for each token.
fn laid_out(layout: &[TokenKind], tokens: &[Option<String>]) -> Result<Supply, InvalidCredential> {
    let kinds = Kinds::of(layout);
    let credentials = layout.iter().zip(tokens).map(|(kind, token)| match token {
        Some(token) => Credential::bearer(token, kinds.index(*kind)),
        None => Ok(Credential::absent(kinds.index(*kind))),
    });
    Supply::new(credentials.collect::<Result<_, _>>()?, kinds.names())
}

/// The kinds of a layout, each once: what answers are counted under.
struct Kinds(Vec<TokenKind>);

impl Kinds {
    fn of(layout: &[TokenKind]) -> Self {
        Self(TokenKind::ALL.into_iter().filter(|kind| layout.contains(kind)).collect())
    }

    fn index(&self, kind: TokenKind) -> usize {
        self.0.iter().position(|one| *one == kind).unwrap_or_default()
    }

    fn names(&self) -> Vec<Box<str>> {
        self.0.iter().map(|kind| kind.name().into()).collect()
    }
}

/// The most tokens that a run has in memory: some hundreds of megabytes.
pub const CREDENTIALS_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(supply: &Supply) -> Vec<String> {
        let text = |credential: &Credential| match credential.authorization() {
            Some(value) => value.to_str().unwrap().trim_start_matches("Bearer ").to_owned(),
            None => "-".to_owned(),
        };
        (0..supply.count()).map(|turn| text(supply.take(turn))).collect()
    }

    fn tokens(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn given_tokens_are_all_sent_and_equally_often() {
        let mix = |text: &str| text.parse::<Mix>().unwrap();
        assert_eq!(sent(&given(&tokens(3), &Mix::default()).unwrap()), ["0", "1", "2"]);
        let half = sent(&given(&tokens(2), &mix("good=1,none=1")).unwrap());
        assert_eq!(half, ["0", "-", "1", "-"]);
        let uneven = sent(&given(&tokens(3), &mix("good=2,none=1")).unwrap());
        for token in ["0", "1", "2"] {
            assert_eq!(uneven.iter().filter(|one| *one == token).count(), 2, "{uneven:?}");
        }
        assert_eq!(sent(&given(&tokens(2), &mix("none=1")).unwrap()), ["-"]);
    }

    #[test]
    fn bad_tokens_are_not_made_from_given_ones() {
        let mix = "good=1,expired=1".parse().unwrap();
        assert!(matches!(given(&tokens(1), &mix), Err(TokenError::NeedsKey)));
    }

    #[test]
    fn no_token_is_an_error() {
        assert!(matches!(given(&[], &Mix::default()), Err(TokenError::Credential(_))));
    }

    #[test]
    fn kinds_are_counted_under_their_names() {
        let layout = "good=1,none=1".parse::<Mix>().unwrap().layout(2);
        let supply = laid_out(&layout, &[Some("a".to_owned()), None]).unwrap();
        assert_eq!(supply.kinds(), [Box::from("good"), Box::from("none")]);
        assert_eq!([supply.take(0).kind(), supply.take(1).kind()], [0, 1]);
    }
}
