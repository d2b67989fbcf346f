//! Where log lines go: standard error, as text for people or as one JSON object a line.
//!
//! Access lines are gathered and come up to a tenth of a second late ([`super::access_lines`]);
//! all others go out at once.

use std::io::{self, Write as _};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::access_lines::AccessLines;
use super::access_log;
use crate::config::{Log, LogFormat};

/// Why logging cannot start.
#[derive(Debug)]
pub enum LogError {
    /// `log.level` is no filter.
    Filter(Box<str>),
    /// Somebody has set a subscriber already.
    AlreadySet,
    /// The system gives no thread.
    System(io::Error),
}

impl std::fmt::Display for LogError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Filter(level) => {
                write!(formatter, "log.level {level:?} is no level and no filter")
            }
            Self::AlreadySet => formatter.write_str("logging has been started already"),
            Self::System(error) => write!(formatter, "the system gives no thread: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

/// Keep it until the process ends: what still waits is written out when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct LogEnd(Arc<AccessLines>);

impl LogEnd {
    /// Writes out what waits, so that a line that is logged next is the last.
    pub fn flush(&self) {
        self.0.flush();
    }
}

impl Drop for LogEnd {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Starts logging for the whole process. The access log is one target, [`access_log::TARGET`].
///
/// # Errors
/// When the level is no filter, the system gives no thread, or logging has been started already.
pub fn start(settings: &Log) -> Result<LogEnd, LogError> {
    let filter: EnvFilter =
        settings.level.parse().map_err(|_| LogError::Filter(settings.level.clone()))?;
    let lines = Arc::new(AccessLines::new(settings.format, to_standard_error));
    let layer = layer(settings.format, Arc::clone(&lines));
    lines.start_clerk().map_err(LogError::System)?;
    let subscriber = tracing_subscriber::registry().with(layer).with(filter);
    subscriber.try_init().map_err(|_| LogError::AlreadySet)?;
    Ok(LogEnd(lines))
}

/// A subscriber that hands access lines to `sink`, many at a time: to measure what one costs.
pub fn access_lines_to(
    format: LogFormat,
    sink: impl Fn(&[u8]) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(layer(format, Arc::new(AccessLines::new(format, sink))))
}

/// Nobody can be told that standard error is closed.
fn to_standard_error(lines: &[u8]) {
    let _ = io::stderr().lock().write_all(lines);
}

fn layer(format: LogFormat, lines: Arc<AccessLines>) -> AccessApart {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_timer(SystemTime)
        .with_ansi(false);
    let rest = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    };
    AccessApart { lines, rest }
}

/// Access lines go one way and everything else another.
///
/// Why not two layers with a filter each: each would ask its filter at each event, and spans would
/// be kept in mind for both.
struct AccessApart {
    lines: Arc<AccessLines>,
    /// The two formats of tracing-subscriber are two types.
    rest: Box<dyn Layer<Registry> + Send + Sync>,
}

impl Layer<Registry> for AccessApart {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        // Within a span (of h2 at `trace`, say) a line names it and what it carries, which is the
        // other layer's to know.
        let is_ours = event.metadata().target() == access_log::TARGET;
        if is_ours && context.lookup_current().is_none() {
            self.lines.add(event);
        } else {
            self.rest.on_event(event, context);
        }
    }

    fn on_layer(&mut self, subscriber: &mut Registry) {
        self.rest.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.rest.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, Registry>) -> bool {
        self.rest.enabled(metadata, context)
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, Registry>) -> bool {
        self.rest.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.rest.max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, Registry>) {
        self.rest.on_new_span(attributes, id, context);
    }

    fn on_record(&self, span: &Id, values: &Record<'_>, context: Context<'_, Registry>) {
        self.rest.on_record(span, values, context);
    }

    fn on_follows_from(&self, span: &Id, follows: &Id, context: Context<'_, Registry>) {
        self.rest.on_follows_from(span, follows, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, Registry>) {
        self.rest.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, Registry>) {
        self.rest.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, Registry>) {
        self.rest.on_close(id, context);
    }

    fn on_id_change(&self, old: &Id, new: &Id, context: Context<'_, Registry>) {
        self.rest.on_id_change(old, new, context);
    }
}

#[cfg(test)]
mod tests;
