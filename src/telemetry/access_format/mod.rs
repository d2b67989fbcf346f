//! Writes an event of the access log as a line, byte for byte as `tracing_subscriber::fmt` would,
//! for a fifth of the work: no `core::fmt` for numbers and plain text, no time stamp from scratch.
//!
//! An access line has strings, whole numbers and displayed values. A string is text that callers
//! choose: in both forms its control characters are escaped, so that it cannot forge a line. A
//! displayed value (an address, a method, scopes) has a grammar without them.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::config::LogFormat;

/// Appends the line of an event. `stamp` is its time stamp.
pub(super) fn write_line(out: &mut Vec<u8>, format: LogFormat, stamp: &[u8], event: &Event<'_>) {
    match format {
        LogFormat::Text => write_text(out, stamp, event),
        LogFormat::Json => write_json(out, stamp, event),
    }
}

fn write_text(out: &mut Vec<u8>, stamp: &[u8], event: &Event<'_>) {
    let metadata = event.metadata();
    out.extend_from_slice(stamp);
    out.extend_from_slice(padded(metadata.level()));
    out.extend_from_slice(metadata.target().as_bytes());
    out.push(b':');
    event.record(&mut TextFields(out));
    out.push(b'\n');
}

fn write_json(out: &mut Vec<u8>, stamp: &[u8], event: &Event<'_>) {
    let metadata = event.metadata();
    out.extend_from_slice(b"{\"timestamp\":\"");
    out.extend_from_slice(stamp);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(metadata.level().as_str().as_bytes());
    out.push(b'"');
    event.record(&mut JsonFields(out));
    out.extend_from_slice(b",\"target\":\"");
    out.extend_from_slice(metadata.target().as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Level names are as wide as the longest, which is five, with a space on either side.
fn padded(level: &Level) -> &'static [u8] {
    match *level {
        Level::ERROR => b" ERROR ",
        Level::WARN => b"  WARN ",
        Level::INFO => b"  INFO ",
        Level::DEBUG => b" DEBUG ",
        Level::TRACE => b" TRACE ",
    }
}

/// ` name=value` for each field, and the message without its name.
struct TextFields<'a>(&'a mut Vec<u8>);

impl TextFields<'_> {
    fn start(&mut self, field: &Field) {
        self.0.push(b' ');
        if field.name() != MESSAGE {
            self.0.extend_from_slice(field.name().as_bytes());
            self.0.push(b'=');
        }
    }
}

impl Visit for TextFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.start(field);
        if is_plain_ascii(value) {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else {
            let _ = write!(Raw(self.0), "{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.start(field);
        number(self.0, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.start(field);
        let _ = write!(Raw(self.0), "{value:?}");
    }
}

/// `,"name":value` for each field.
struct JsonFields<'a>(&'a mut Vec<u8>);

impl JsonFields<'_> {
    fn start(&mut self, field: &Field) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Visit for JsonFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.start(field);
        self.0.push(b'"');
        escape_json(self.0, value);
        self.0.push(b'"');
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.start(field);
        number(self.0, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.start(field);
        self.0.push(b'"');
        let _ = write!(JsonEscaped(self.0), "{value:?}");
        self.0.push(b'"');
    }
}

/// What is displayed goes in as it is.
struct Raw<'a>(&'a mut Vec<u8>);

impl fmt::Write for Raw<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// What is displayed goes in escaped, as it comes.
struct JsonEscaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for JsonEscaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape_json(self.0, text);
        Ok(())
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Text for between two quotes (RFC 8259 §7), escaped as serde_json does it.
fn escape_json(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else if let Ok(quoted) = serde_json::to_string(text) {
        let inner = quoted.as_bytes().get(1..quoted.len() - 1);
        out.extend_from_slice(inner.unwrap_or_default());
    }
}

/// Whether JSON needs no escape for it. All bytes are looked at, whatever the first says: so the
/// compiler takes 16 at a time.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, byte| plain & (0x20 <= byte) & (byte != b'"') & (byte != b'\\'))
}

/// Whether Rust's `Debug` needs no escape for it, beyond ASCII left aside.
fn is_plain_ascii(text: &str) -> bool {
    is_plain(text) & text.bytes().fold(true, |plain, byte| plain & (byte < 0x7f))
}

/// What `tracing` calls an event's message.
const MESSAGE: &str = "message";

#[cfg(test)]
mod tests;
