//! Secrets: read from where the configuration says, shown to nobody.

use std::fmt;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text. `Debug` hides it, there is no `Display`, and comparing takes the same time
/// whatever differs.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// What stands in a file: one line end at its end does not belong to the secret.
    pub fn of_file(text: &str) -> Self {
        let text = text.strip_suffix('\n').unwrap_or(text);
        Self::new(text.strip_suffix('\r').unwrap_or(text))
    }

    /// The secret itself, for the one place that must send it or compute with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Where a secret is read from: `{ env = "NAME" }` or `{ file = "path" }`, never the
/// configuration itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; one line end at its end does not belong to the secret.
    File(PathBuf),
}

/// Why a secret could not be read.
#[derive(Debug)]
pub enum SecretError {
    /// The variable is not set, or is not UTF-8.
    EnvMissing(String),
    /// The file cannot be read, or is not UTF-8.
    FileUnreadable(PathBuf, std::io::Error),
    /// There is a variable or file, and nothing in it.
    Empty,
}

impl fmt::Display for SecretError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnvMissing(name) => {
                write!(formatter, "the environment variable {name} is not set")
            }
            Self::FileUnreadable(path, error) => {
                write!(formatter, "cannot read the secret file {}: {error}", path.display())
            }
            Self::Empty => formatter.write_str("the secret is empty"),
        }
    }
}

impl std::error::Error for SecretError {}

impl SecretSource {
    /// Reads the secret; a relative file is looked for in `folder`.
    ///
    /// # Errors
    /// When there is nothing to read, or it is empty: an unreadable secret never becomes "none".
    pub fn read(&self, folder: &Path) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Env(name) => environment(name)?,
            Self::File(path) => {
                let path = folder.join(path);
                std::fs::read_to_string(&path)
                    .map_err(|error| SecretError::FileUnreadable(path, error))?
            }
        };
        let secret = Secret::of_file(&text);
        if secret.expose().is_empty() { Err(SecretError::Empty) } else { Ok(secret) }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn environment(name: &str) -> Result<String, SecretError> {
    std::env::var(name).map_err(|_| SecretError::EnvMissing(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn only_the_last_line_end_is_cut_off() {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("scopegate-secret-{}", std::process::id()));
        std::fs::write(&path, "s:e cret \r\n").unwrap();
        let secret = SecretSource::File(path.clone()).read(&folder);
        std::fs::write(&path, "\n").unwrap();
        let empty = SecretSource::File(path.clone()).read(&folder);
        std::fs::remove_file(path).unwrap();
        assert_eq!(secret.unwrap().expose(), "s:e cret ");
        assert!(matches!(empty, Err(SecretError::Empty)));
    }

    #[test]
    fn a_missing_source_is_an_error_and_not_an_empty_secret() {
        let missing = SecretSource::Env("SCOPEGATE_NO_SUCH_VARIABLE".into()).read(Path::new("."));
        assert!(matches!(missing, Err(SecretError::EnvMissing(_))));
    }
}
