//! Where log lines go: standard error, as text for people or as one JSON object a line.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::{Log, LogFormat};

/// Why logging cannot start.
#[derive(Debug)]
pub enum LogError {
    /// `log.level` is no filter.
    Filter(Box<str>),
    /// Somebody has set a subscriber already.
    AlreadySet,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(level) => {
                write!(formatter, "log.level {level:?} is no level and no filter")
            }
            Self::AlreadySet => formatter.write_str("logging has been started already"),
        }
    }
}

impl std::error::Error for LogError {}

/// Starts logging for the whole process. The access log is one target, [`super::access_log::TARGET`].
///
/// # Errors
/// When the level is no filter, or logging has been started already.
pub fn start(settings: &Log) -> Result<(), LogError> {
    let filter: EnvFilter =
        settings.level.parse().map_err(|_| LogError::Filter(settings.level.clone()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_ansi(false);
    let outcome = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    outcome.map_err(|_| LogError::AlreadySet)
}
