//! Tokens that `scopegate load` makes: minted or fetched, and mixed in kinds.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::base::secret::SecretError;
use crate::base::time;
use crate::load::Supply;
use crate::load::tokens::{
    self, ClientCredentials, KeyError, Mint, MintKey, Mix, Order, SecretArgument, TokenError,
};
use crate::load::value;
use crate::oauth::{Algorithm, ClientId, Scope, SignatureAlgorithm};

/// How tokens are made, and how kinds of them are mixed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Tokens that are made")]
pub(super) struct MadeTokenArguments {
    /// Mint tokens (RFC 9068) with this private key, in PEM, whose public half the gateway trusts
    #[arg(long, value_name = "KEY.pem", requires_all = ["issuer", "audience"])]
    #[arg(group = "maker", conflicts_with_all = ["token", "tokens"])]
    mint: Option<PathBuf>,
    /// `iss` of minted tokens
    #[arg(long, value_name = "URL", requires = "mint")]
    issuer: Option<String>,
    /// `aud` of minted tokens
    #[arg(long, value_name = "URL", requires = "mint")]
    audience: Option<String>,
    /// `kid` of minted tokens [default: none, the gateway then tries each key that fits]
    #[arg(long, value_name = "ID", requires = "mint")]
    kid: Option<String>,
    /// What tokens are signed with: RS256, PS256, ES256, ES384, EdDSA … [default: by the key;
    /// RS256 in a self-test]
    #[arg(long, value_name = "NAME", value_parser = signature_algorithm, requires = "maker")]
    pub(super) algorithm: Option<SignatureAlgorithm>,
    /// How long minted tokens are good
    #[arg(long, value_name = "DURATION", default_value = "1h", requires = "mint")]
    #[arg(value_parser = value::duration)]
    lifetime: Duration,
    /// Fetch tokens by client credentials (RFC 6749 section 4.4)
    #[arg(long, requires_all = ["token_endpoint", "client_id", "client_secret"])]
    #[arg(group = "maker", conflicts_with_all = ["token", "tokens"])]
    client_credentials: bool,
    /// Where tokens are fetched: https, or http on loopback
    #[arg(long, value_name = "URL", requires = "client_credentials")]
    token_endpoint: Option<Uri>,
    /// Who fetches them
    #[arg(long, value_name = "ID", requires = "client_credentials")]
    client_id: Option<String>,
    /// Where its secret is: env:NAME or file:PATH, never the secret itself
    #[arg(long, value_name = "WHERE", requires = "client_credentials")]
    client_secret: Option<SecretArgument>,
    /// The only CA that counts for the token endpoint, in PEM [default: the system's]
    #[arg(long, value_name = "FILE", requires = "client_credentials")]
    token_ca: Option<PathBuf>,
    /// A scope of the tokens; several: once for each
    #[arg(long, value_name = "SCOPE", requires = "maker")]
    scope: Vec<Scope>,
    /// How many tokens differ [default: 1; 20000 in a self-test]
    #[arg(long, value_name = "N", requires = "maker")]
    pub(super) distinct_tokens: Option<NonZeroUsize>,
    /// Kinds of tokens and their weights, such as good=90,expired=5,scope=5
    ///
    /// The kinds: good; expired; scope (it carries none); audience, issuer (of others); signature
    /// (broken); garbage (random text); none (no credential). They are evenly spread. Kinds other
    /// than good and none need --mint.
    #[arg(long, value_name = "KIND=N,…")]
    mix: Option<Mix>,
}

/// Why there are no tokens to send.
#[derive(Debug)]
pub(in crate::cli) enum MakingError {
    /// The key's file cannot be read.
    KeyFile(PathBuf, io::Error),
    /// There is no key in it that serves.
    Key(PathBuf, KeyError),
    /// The client's secret cannot be read.
    Secret(SecretError),
    /// The CA of the token endpoint cannot be read, or is none.
    Authority(PathBuf),
    /// More tokens than a run can hold.
    TooMany,
    /// What was asked for cannot be made.
    Tokens(TokenError),
    /// No runtime to fetch tokens in.
    System(io::Error),
}

impl fmt::Display for MakingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyFile(path, error) => {
                write!(formatter, "cannot read --mint {}: {error}", path.display())
            }
            Self::Key(path, error) => write!(formatter, "--mint {}: {error}", path.display()),
            Self::Secret(error) => write!(formatter, "--client-secret: {error}"),
            Self::Authority(path) => {
                write!(
                    formatter,
                    "--token-ca {}: there is no certificate in PEM in it",
                    path.display()
                )
            }
            Self::TooMany => {
                write!(formatter, "--distinct-tokens: at most {}", tokens::CREDENTIALS_MAX)
            }
            Self::Tokens(error) => error.fmt(formatter),
            Self::System(error) => write!(formatter, "the system gives no runtime: {error}"),
        }
    }
}

impl std::error::Error for MakingError {}

impl MadeTokenArguments {
    /// The credentials that these arguments ask for; `given` are those that stand on the command
    /// line or in a file. Blocks until all are there.
    pub(super) fn supply(&self, given: &[String]) -> Result<Supply, MakingError> {
        let mix = self.mix.clone().unwrap_or_default();
        let distinct = self.distinct_tokens.map_or(1, NonZeroUsize::get);
        if tokens::CREDENTIALS_MAX < distinct {
            return Err(MakingError::TooMany);
        }
        let order = Order { mix, distinct };
        let made = if let Some(path) = &self.mint {
            let mint = self.mint(path)?;
            let counter = Counter::new("tokens minted");
            tokens::minted(&mint, &order, time::now().unix, &|done, all| counter.show(done, all))
        } else if let Some(client) = self.client()? {
            fetch(&client, &order)?
        } else {
            tokens::given(given, &order.mix)
        };
        made.map_err(MakingError::Tokens)
    }

    /// Whether anything here says what is sent: else it is what is given, as it is.
    pub(super) fn decide(&self) -> bool {
        self.mint.is_some() || self.client_credentials || self.mix.is_some()
    }

    fn mint(&self, path: &Path) -> Result<Mint, MakingError> {
        let pem = fs::read(path).map_err(|error| MakingError::KeyFile(path.into(), error))?;
        let key = MintKey::from_pem(&pem, self.algorithm);
        Ok(Mint {
            key: key.map_err(|error| MakingError::Key(path.into(), error))?,
            key_id: self.kid.as_deref().map(Box::from),
            issuer: self.issuer.as_deref().unwrap_or_default().into(),
            audience: self.audience.as_deref().unwrap_or_default().into(),
            scopes: self.scope.iter().cloned().collect(),
            lifetime: self.lifetime,
        })
    }

    fn client(&self) -> Result<Option<ClientCredentials>, MakingError> {
        let secret = self.client_secret.as_ref();
        let (Some(endpoint), Some(id), Some(SecretArgument(secret))) =
            (&self.token_endpoint, &self.client_id, secret)
        else {
            return Ok(None);
        };
        Ok(Some(ClientCredentials {
            endpoint: endpoint.clone(),
            client_id: ClientId::new(id.as_str()),
            client_secret: secret.read(Path::new("")).map_err(MakingError::Secret)?,
            scopes: self.scope.iter().cloned().collect(),
            authorities: self.token_ca.as_deref().map(authorities).transpose()?,
        }))
    }
}

fn fetch(
    client: &ClientCredentials,
    order: &Order,
) -> Result<Result<Supply, TokenError>, MakingError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(MakingError::System)?;
    let counter = Counter::new("tokens fetched");
    Ok(runtime.block_on(tokens::fetched(client, order, |done, all| counter.show(done, all))))
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, MakingError> {
    let wrong = || MakingError::Authority(path.into());
    let read = CertificateDer::pem_file_iter(path).map_err(|_| wrong())?;
    let certificates = read.collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

fn signature_algorithm(text: &str) -> Result<SignatureAlgorithm, String> {
    match text.parse() {
        Ok(Algorithm::Signature(algorithm)) => Ok(algorithm),
        Ok(Algorithm::Mac(_)) | Err(_) => {
            let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name).join(", ");
            Err(format!("write one of {names}"))
        }
    }
}

/// A line on a terminal that says how many there are; nothing where nobody would see it change.
pub(super) struct Counter {
    what: &'static str,
    shown: AtomicUsize,
}

impl Counter {
    /// Nothing is shown yet.
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, shown: AtomicUsize::new(0) }
    }

    /// Shows it about a hundred times; a few are there before anybody looks.
    pub(super) fn show(&self, done: usize, all: usize) {
        let before = self.shown.load(Ordering::Relaxed);
        let is_due = before + all / 100 <= done || done == all;
        if all < WORTH_SHOWING || done <= before || !is_due || !io::stderr().is_terminal() {
            return;
        }
        self.shown.store(done, Ordering::Relaxed);
        let end = if done == all { "\n" } else { "" };
        // Who cannot see it needs no progress.
        let _ = write!(io::stderr(), "\r{done} of {all} {}{end}", self.what);
    }
}

const WORTH_SHOWING: usize = 1000;
