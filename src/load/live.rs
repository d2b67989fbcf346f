//! How a run stands, told while it runs: one line that changes on a terminal, a plain line now and
//! then elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::progress::{Phase, Progress};
use super::value::shown;

/// Who is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// Somebody at a terminal, who sees a line change.
    Terminal,
    /// A file or a pipe, which gets whole lines.
    Log,
}

/// Tells of a run on standard error, so that results alone stand on standard output.
#[derive(Debug)]
pub struct Live {
    audience: Audience,
    /// When the last plain line was written, and in which phase.
    told: Option<(Phase, Duration)>,
}

impl Live {
    /// For whoever reads standard error.
    pub fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let audience = if is_terminal { Audience::Terminal } else { Audience::Log };
        Self { audience, told: None }
    }

    /// Tells how it stands.
    pub fn tell(&mut self, progress: &Progress) {
        let audience = self.audience;
        let text = match audience {
            Audience::Terminal => {
                // A line that wraps would not be taken back by the next one.
                let line: String = line(progress, audience).chars().take(WIDTH).collect();
                format!("\r{line}{CLEAR}")
            }
            Audience::Log if !self.is_due(progress) => return,
            Audience::Log => format!("{}\n", line(progress, Audience::Log)),
        };
        // Nobody reads it any more: the run goes on for its results.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Takes the changing line away, for what is written next.
    pub fn end(&self) {
        if self.audience == Audience::Terminal {
            let _ = write!(io::stderr().lock(), "\r{CLEAR}");
        }
    }

    fn is_due(&mut self, progress: &Progress) -> bool {
        let Progress { phase, elapsed, .. } = *progress;
        let is_due = match self.told {
            Some((told, at)) if told == phase => at + EVERY <= elapsed,
            _ => phase != Phase::Measuring || EVERY <= elapsed,
        };
        if is_due {
            self.told = Some((phase, elapsed));
        }
        is_due
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

/// How a run stands, in one line.
pub fn line(progress: &Progress, audience: Audience) -> String {
    let phase = match progress.phase {
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Draining => "last answers",
    };
    let mut line = match audience {
        Audience::Terminal => bar(progress.done),
        Audience::Log => format!("{:>3.0}%", progress.done * 100.0),
    };
    // Writing to a String does not fail.
    let _ = write!(line, " {phase} {}", shown(progress.elapsed));
    if 0 < progress.answers + progress.errors {
        let _ = write!(line, "  {:.0}/s  p99 {}", progress.rate, shown(progress.p99));
        for (status, count) in progress.statuses.iter() {
            let _ = write!(line, "  {status}: {count}");
        }
        let _ = write!(line, "  errors: {}", progress.errors);
    }
    line
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to its width")]
fn bar(done: f64) -> String {
    let filled = ((done.clamp(0.0, 1.0) * BAR_WIDTH as f64) as usize).min(BAR_WIDTH);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_WIDTH - filled))
}

/// Erases to the end of the line, which the line before may have reached.
const CLEAR: &str = "\x1b[K";
const BAR_WIDTH: usize = 20;
/// What a small terminal shows.
const WIDTH: usize = 79;
/// How often a plain line is written.
const EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::summary::Statuses;

    fn progress(phase: Phase, elapsed_s: u64) -> Progress {
        let mut statuses = Statuses::default();
        statuses.count(200);
        Progress {
            phase,
            elapsed: Duration::from_secs(elapsed_s),
            done: 0.5,
            answers: 1,
            errors: 2,
            statuses,
            rate: 1234.4,
            p99: Duration::from_micros(1500),
        }
    }

    #[test]
    fn a_log_gets_no_control_characters() {
        let line = line(&progress(Phase::Measuring, 3), Audience::Log);
        assert_eq!(line, " 50% measuring 3.00s  1234/s  p99 1.50ms  200: 1  errors: 2");
    }

    #[test]
    fn a_terminal_gets_a_bar() {
        let nothing_yet = Progress { answers: 0, errors: 0, ..progress(Phase::WarmUp, 3) };
        let line = line(&nothing_yet, Audience::Terminal);
        assert_eq!(line, "[##########----------] warm-up 3.00s");
    }

    #[test]
    fn a_log_gets_a_line_now_and_then() {
        let mut live = Live { audience: Audience::Log, told: None };
        let due = [0, 1, 4, 5, 6, 9, 10].map(|s| live.is_due(&progress(Phase::Measuring, s)));
        assert_eq!(due, [false, false, false, true, false, false, true]);
        assert!(live.is_due(&progress(Phase::Draining, 10)), "a phase is told when it begins");
    }
}
