//! One entry of the list: what it names and until when, and its line in the file. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::digest::Digest;
use crate::base::time::UnixSeconds;
use crate::oauth::{Mark, MarkKind, TokenDigest, Traces, VerifiedToken};

/// One entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What it names.
    pub mark: Mark,
    /// How far it reaches.
    pub reach: Reach,
}

/// How far an entry reaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reach {
    /// The first second at which it is no more.
    pub until: UnixSeconds,
    /// It names only tokens issued before this second: after a logout there may be a new login.
    /// `None`: all of them. A token that does not say when it was issued is one of them.
    pub issued_before: Option<UnixSeconds>,
}

impl Reach {
    /// Whether it counts still.
    pub fn is_living(&self, now: UnixSeconds) -> bool {
        now < self.until
    }

    /// Whether a token of that `iat` is among those named.
    pub fn covers(&self, issued_at: Option<UnixSeconds>) -> bool {
        match (self.issued_before, issued_at) {
            (Some(before), Some(issued_at)) => issued_at < before,
            (None, _) | (_, None) => true,
        }
    }
}

/// How far all entries of one mark reach: over all of its tokens, and over those issued before a
/// second, each until an end of its own. So a short ban and a logout are no long ban.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reaches {
    /// [`NEVER`] where there is no such entry.
    all_until: UnixSeconds,
    /// The same.
    part_until: UnixSeconds,
    issued_before: UnixSeconds,
}

impl From<Reach> for Reaches {
    fn from(Reach { until, issued_before }: Reach) -> Self {
        match issued_before {
            None => Self { all_until: until, part_until: NEVER, issued_before: NEVER },
            Some(issued_before) => Self { all_until: NEVER, part_until: until, issued_before },
        }
    }
}

impl Reaches {
    /// Whether one of them counts still.
    pub(super) fn is_living(&self, now: UnixSeconds) -> bool {
        now < self.all_until || now < self.part_until
    }

    /// Whether a token of that `iat` is among those that are named now.
    pub(super) fn covers(&self, issued_at: Option<UnixSeconds>, now: UnixSeconds) -> bool {
        self.iter().any(|reach| reach.is_living(now) && reach.covers(issued_at))
    }

    /// Those that count still.
    #[must_use]
    pub(super) fn living(self, now: UnixSeconds) -> Self {
        let none = Self { all_until: NEVER, part_until: NEVER, issued_before: NEVER };
        let living = self.iter().filter(|reach| reach.is_living(now));
        living.fold(none, |one, reach| one.and(reach.into()))
    }

    /// What reaches as far as both: nothing that was revoked is let in again.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        let all_until = self.all_until.max(other.all_until);
        let part_until = self.part_until.max(other.part_until);
        let issued_before = self.issued_before.max(other.issued_before);
        match all_until < part_until {
            true => Self { all_until, part_until, issued_before },
            false => Self { all_until, part_until: NEVER, issued_before: NEVER },
        }
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Reach> + use<> {
        let Self { all_until, part_until, issued_before } = *self;
        let all = Reach { until: all_until, issued_before: None };
        let part = Reach { until: part_until, issued_before: Some(issued_before) };
        [all, part].into_iter().filter(|reach| reach.until != NEVER)
    }

    /// The entries of a mark that reach so far.
    pub(super) fn entries(&self, mark: Mark) -> impl Iterator<Item = Entry> + use<> {
        self.iter().map(move |reach| Entry { mark, reach })
    }
}

/// The end of what is not there.
const NEVER: UnixSeconds = UnixSeconds::new(i64::MIN);

impl Entry {
    /// One that names a token by its digest alone.
    pub fn of_digest(digest: &TokenDigest, until: UnixSeconds) -> Self {
        let reach = Reach { until, issued_before: None };
        Self { mark: Mark::of_token(digest), reach }
    }

    /// Those that name one verified token: by its digest, and by its `jti`, since the signature of a
    /// JWT can be written in more ways than one (RFC 7518 §3.4). They live as long as it does, or for
    /// `keep` where it names no end.
    pub fn of_token(token: &VerifiedToken, keep: Duration, now: UnixSeconds) -> Vec<Self> {
        let until = token.validity.until().unwrap_or_else(|| now.plus(keep));
        let itself = Self::of_digest(&token.digest, until);
        let jti = token.claims.traces().and_then(Traces::jti);
        std::iter::once(itself).chain(jti.map(|mark| Self { mark, ..itself })).collect()
    }

    /// Its line in the file, with its end: kind, mark, end, `issued_before` or `-`, and the first
    /// digits of the SHA-256 of all that.
    pub(super) fn line(&self) -> String {
        let mut line = String::with_capacity(LINE_MAX_BYTES);
        line.push_str(self.mark.kind().name());
        line.push(' ');
        for byte in self.mark.bytes() {
            let _ = write!(line, "{byte:02x}");
        }
        let _ = write!(line, " {} ", self.reach.until);
        match self.reach.issued_before {
            Some(before) => drop(write!(line, "{before}")),
            None => line.push('-'),
        }
        let sum = checksum(&line);
        let _ = writeln!(line, " {sum}");
        line
    }

    /// Reads a line without its end; `None` where anything of it is not as it was written.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (text, sum) = line.rsplit_once(' ')?;
        if checksum(text) != sum {
            return None;
        }
        let mut words = text.split(' ');
        let kind = MarkKind::named(words.next()?)?;
        let mark = Mark::from_bytes(kind, bytes(words.next()?)?);
        let until = UnixSeconds::new(words.next()?.parse().ok()?);
        let issued_before = match words.next()? {
            "-" => None,
            text => Some(UnixSeconds::new(text.parse().ok()?)),
        };
        let reach = Reach { until, issued_before };
        words.next().is_none().then_some(Self { mark, reach })
    }
}

fn checksum(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if hex.len() != 2 * N || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// The SHA-256 of a token, as an operator writes it: 64 hex digits.
pub fn sha256(hex: &str) -> Option<[u8; 32]> {
    bytes(hex)
}

/// Two numbers of 20 digits, a mark, and the words between them.
pub(super) const LINE_MAX_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> UnixSeconds {
        UnixSeconds::new(second)
    }

    #[test]
    fn a_line_reads_as_it_was_written() {
        for (kind, until, issued_before) in [
            (MarkKind::Token, at(1_700_000_000), None),
            (MarkKind::Subject, at(i64::MAX), Some(at(i64::MIN))),
            (MarkKind::Client, at(-1), Some(at(0))),
        ] {
            let mark = Mark::of(kind, "https://as.test", "x");
            let entry = Entry { mark, reach: Reach { until, issued_before } };
            let line = entry.line();
            assert!(line.len() <= LINE_MAX_BYTES, "{line}");
            assert_eq!(Entry::parse(line.strip_suffix('\n').unwrap()), Some(entry), "{line}");
        }
    }

    #[test]
    fn no_change_of_a_line_is_another_entry() {
        let mark = Mark::of(MarkKind::Jti, "https://as.test", "x");
        let reach = Reach { until: at(1_700_000_000), issued_before: None };
        let line = Entry { mark, reach }.line();
        let line = line.trim_end();
        for at in 0..line.len() {
            let mut changed = line.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Entry::parse(&changed), None, "{changed}");
            assert_eq!(Entry::parse(line.get(..at).unwrap()), None, "cut at {at}");
        }
        assert_eq!(Entry::parse(&format!("{line} ")), None);
    }

    #[test]
    fn two_reaches_are_together_as_wide_as_both() {
        let reach = |until, before: Option<i64>| Reach {
            until: at(until),
            issued_before: before.map(UnixSeconds::new),
        };
        for (one, other, both) in [
            (reach(1, None), reach(2, Some(9)), &[reach(1, None), reach(2, Some(9))][..]),
            (reach(2, None), reach(2, Some(9)), &[reach(2, None)]),
            (reach(1, None), reach(2, None), &[reach(2, None)]),
            (reach(3, Some(5)), reach(2, Some(9)), &[reach(3, Some(9))]),
        ] {
            let [one, other] = [one, other].map(Reaches::from);
            assert!(one.and(other).iter().eq(both.iter().copied()), "{both:?}");
            assert_eq!(other.and(one), one.and(other));
        }
        let both = Reaches::from(reach(10, None)).and(reach(20, Some(5)).into());
        let covers = |issued, now| both.covers(Some(at(issued)), at(now));
        assert!(covers(4, 9) && covers(5, 9) && covers(4, 19));
        assert!(!covers(5, 10), "the ban is over, and it was issued after the logout");
        assert!(!covers(4, 20) && both.is_living(at(19)) && !both.is_living(at(20)));
        assert_eq!(both.living(at(10)), reach(20, Some(5)).into());
        assert_eq!(both.living(at(20)).iter().count(), 0);
    }

    #[test]
    fn what_was_issued_later_is_not_covered_and_what_does_not_say_is() {
        let reach = Reach { until: at(100), issued_before: Some(at(10)) };
        assert!(reach.covers(Some(at(9))) && !reach.covers(Some(at(10))) && reach.covers(None));
        assert!(Reach { issued_before: None, ..reach }.covers(Some(at(99))));
        assert!(reach.is_living(at(99)) && !reach.is_living(at(100)));
    }

    #[test]
    fn a_digest_is_64_hex_digits() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(empty).unwrap()[..4], [0xE3, 0xB0, 0xC4, 0x42]);
        for wrong in [
            "",
            empty.get(1..).unwrap(),
            &format!("{empty}0"),
            &empty.replace('e', "g"),
            &empty.replace("e3", "+3"),
        ] {
            assert_eq!(sha256(wrong), None, "{wrong}");
        }
    }
}
