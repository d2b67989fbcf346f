//! Where WebSocket frames end (RFC 6455 §5.2). Pure.
//!
//! Nothing of a frame is looked at but what says where the next one begins: a last word of ours may
//! only stand between two.

/// Follows the frames of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    state: State,
    /// Whether a Close frame has begun: nothing may follow it.
    is_closing: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Opcode,
    Length,
    /// So many bytes of a longer length are to come, `masked` of a key behind them.
    LongLength {
        left: u8,
        masked: u8,
        length: u64,
    },
    /// So many bytes of payload, its key included.
    Payload(u64),
}

impl Frames {
    /// Follows what was sent.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if let State::Payload(left) = self.state {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.state = State::payload(left - count as u64);
                bytes = bytes.get(count..).unwrap_or_default();
            } else {
                self.state = self.after(*first);
                bytes = rest;
            }
        }
    }

    /// Whether a frame may begin here.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Opcode && !self.is_closing
    }

    fn after(&mut self, byte: u8) -> State {
        match self.state {
            State::Opcode => {
                self.is_closing |= byte & OPCODE == CLOSE;
                State::Length
            }
            State::Length => {
                let masked = if byte & MASKED == 0 { 0 } else { KEY_BYTES };
                match byte & !MASKED {
                    126 => State::LongLength { left: 2, masked, length: 0 },
                    127 => State::LongLength { left: 8, masked, length: 0 },
                    length => State::payload(u64::from(length) + u64::from(masked)),
                }
            }
            State::LongLength { left, masked, length } => {
                let length = length << 8 | u64::from(byte);
                match left - 1 {
                    0 => State::payload(length.saturating_add(u64::from(masked))),
                    left => State::LongLength { left, masked, length },
                }
            }
            State::Payload(left) => State::payload(left - 1),
        }
    }
}

impl State {
    const fn payload(left: u64) -> Self {
        if left == 0 { Self::Opcode } else { Self::Payload(left) }
    }
}

/// A Close frame as a server sends it (RFC 6455 §5.5.1): a code and a reason of at most 123 bytes.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let reason = reason.as_bytes().get(..reason.len().min(REASON_MAX_BYTES)).unwrap_or_default();
    let length = u8::try_from(reason.len() + 2).unwrap_or(2);
    let [high, low] = code.to_be_bytes();
    let mut frame = vec![FINAL | CLOSE, length, high, low];
    frame.extend_from_slice(reason);
    frame
}

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const CLOSE: u8 = 0x8;
const KEY_BYTES: u8 = 4;
/// RFC 6455 §5.5: a control frame has at most 125 bytes, and the code is two of them.
const REASON_MAX_BYTES: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, mask: bool, length: usize) -> Vec<u8> {
        let mut frame = vec![opcode];
        let masked = if mask { MASKED } else { 0 };
        match length {
            0..=125 => frame.push(masked | length as u8),
            126..=65_535 => {
                frame.push(masked | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(masked | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; length + if mask { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn rfc6455_5_2_the_end_of_a_frame_is_found_however_it_comes() {
        let frames: Vec<Vec<u8>> = [0, 1, 125, 126, 200, 65_535, 65_536, 70_000]
            .into_iter()
            .flat_map(|length| [frame(0x82, false, length), frame(0x01, true, length)])
            .collect();
        for chunk in [1, 2, 7, 1000, 1_000_000] {
            let mut follower = Frames::default();
            for frame in &frames {
                assert!(follower.is_between());
                let (but_last, last) = frame.split_at(frame.len() - 1);
                for piece in but_last.chunks(chunk) {
                    follower.follow(piece);
                    assert!(!follower.is_between(), "{} bytes in {chunk}", frame.len());
                }
                follower.follow(last);
            }
            follower.follow(&frames.concat());
            assert!(follower.is_between(), "all of them in one piece");
        }
    }

    #[test]
    fn rfc6455_5_5_1_nothing_follows_a_close_frame() {
        let mut frames = Frames::default();
        frames.follow(&close(1008, "token ended"));
        assert!(!frames.is_between());
        assert_eq!(close(1008, "no"), [0x88, 4, 3, 0xF0, b'n', b'o']);
        assert_eq!(close(1000, &"x".repeat(300)).len(), 2 + 125);
    }

    #[test]
    fn a_length_beyond_any_sense_is_followed_without_overflow() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
        assert!(!frames.is_between());
    }
}
