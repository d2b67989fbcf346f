//! An answer's content, taken out of what was read (RFC 9112 §6 and §7). Pure.

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Malformed;
use super::answer::Framing;
use super::inbox::Inbox;
use crate::body::{Chunked, MalformedChunks};

/// How much of an answer is still to come.
#[derive(Debug)]
pub(super) enum Content {
    /// That many bytes.
    Length(u64),
    Chunked(Chunked),
    /// Whatever comes until the connection ends.
    UntilClose,
    /// It breaks its framing where the last frame ended: that frame is good, and all there is.
    Broken,
}

impl Content {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether all of it was taken.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_over() && !chunked.has_trailers(),
            Self::UntilClose | Self::Broken => false,
        }
    }

    /// Takes a frame; `None`: more has to be read, unless it is over.
    ///
    /// # Errors
    /// When it breaks its framing.
    pub(super) fn take(&mut self, inbox: &mut Inbox) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Self::Length(left) => Ok(take_up_to(left, inbox).map(Frame::data)),
            Self::UntilClose => {
                let mut left = u64::MAX;
                Ok(take_up_to(&mut left, inbox).map(Frame::data))
            }
            Self::Chunked(chunked) => {
                inbox.consume(chunked.advance(inbox.bytes())?);
                if chunked.is_over() && chunked.has_trailers() {
                    return Ok(Some(Frame::trailers(chunked.trailers()?)));
                }
                let mut left = chunked.content_left();
                let before = left;
                let Some(data) = take_up_to(&mut left, inbox) else { return Ok(None) };
                chunked.took(before - left);
                // The last chunk often comes with the one before it, and ends the answer early.
                match chunked.advance(inbox.bytes()) {
                    Ok(bytes) => inbox.consume(bytes),
                    Err(MalformedChunks) => *self = Self::Broken,
                }
                Ok(Some(Frame::data(data)))
            }
            Self::Broken => Err(Malformed),
        }
    }

    /// Takes all of it, if all of it is here and has no trailers. `copy` is a copy of what is
    /// here, or of a part of that.
    pub(super) fn take_whole(&mut self, inbox: &mut Inbox, copy: &Bytes) -> Option<Bytes> {
        match self {
            Self::Length(left) => {
                let length = usize::try_from(*left).ok()?;
                if inbox.bytes().len() < length {
                    return None;
                }
                *left = 0;
                if length <= copy.len() {
                    inbox.consume(length);
                    return Some(copy.slice(..length));
                }
                Some(inbox.take(length))
            }
            Self::Chunked(chunked) => {
                let (end, bytes, content) = unchunked(chunked.clone(), inbox.bytes())?;
                *chunked = end;
                inbox.consume(bytes);
                Some(Bytes::from(content))
            }
            Self::UntilClose | Self::Broken => None,
        }
    }

    /// Whether it may end now, as the connection has.
    pub(super) const fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// What is still to be read at the least.
    pub(super) const fn left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(_) | Self::UntilClose => u64::MAX,
            Self::Broken => 0,
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::UntilClose | Self::Broken => SizeHint::default(),
        }
    }
}

fn take_up_to(left: &mut u64, inbox: &mut Inbox) -> Option<Bytes> {
    let most = usize::try_from(*left).unwrap_or(usize::MAX);
    let data = inbox.take(most);
    *left -= data.len() as u64;
    (!data.is_empty()).then_some(data)
}

/// The content of a chunked body that is all here, and how many bytes it stood in.
fn unchunked(mut chunked: Chunked, input: &[u8]) -> Option<(Chunked, usize, Vec<u8>)> {
    let (mut content, mut rest) = (Vec::new(), input);
    loop {
        rest = rest.get(chunked.advance(rest).ok()?..)?;
        if chunked.is_over() {
            let bytes = input.len() - rest.len();
            return (!chunked.has_trailers()).then_some((chunked, bytes, content));
        }
        let size = usize::try_from(chunked.content_left()).ok()?;
        let (data, behind) = rest.split_at_checked(size)?;
        if data.is_empty() {
            return None;
        }
        content.extend_from_slice(data);
        chunked.took(size as u64);
        rest = behind;
    }
}
