//! Plots as SVG, made by hand: a page with them needs nothing else. Colours come from the page, so
//! that they fit light and dark.

use std::fmt::Write as _;

/// A plot in the making: two axes and what is drawn between them.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

/// From where to where an axis goes, and what is written along it.
pub(super) struct Axis {
    low: f64,
    high: f64,
    title: &'static str,
    marks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to `high` or a little more, with about five marks at round numbers.
    pub(super) fn linear(high: f64, title: &'static str) -> Self {
        let step = round_step(high.max(f64::MIN_POSITIVE) / 5.0);
        let count = (high / step).ceil().max(1.0);
        let marks = (0..=whole(count)).map(|at| f64::from(at) * step).map(|at| (at, short(at)));
        Self { low: 0.0, high: count * step, title, marks: marks.collect() }
    }

    /// With these marks, from the first to the last.
    pub(super) fn marked(marks: Vec<(f64, String)>, title: &'static str) -> Self {
        let at = |mark: Option<&(f64, String)>| mark.map_or(0.0, |(at, _)| *at);
        Self { low: at(marks.first()), high: at(marks.last()), title, marks }
    }

    /// Where a value is, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let length = self.high - self.low;
        if length > 0.0 { ((value - self.low) / length).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Plot {
    /// Between these axes.
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self { x, y, body: String::new() };
        plot.grid();
        plot
    }

    /// A line through points, in the colour of a class of the page.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{:.1},{:.1} ", self.x_of(x), self.y_of(y));
        }
        let path = path.trim_end();
        let _ = writeln!(self.body, r#"<polyline class="line {class}" points="{path}"/>"#);
    }

    /// A bar from `from` to `to` over a part of the x axis, which tells `tip` when pointed at.
    pub(super) fn bar(&mut self, class: &str, span: (f64, f64), from: f64, to: f64, tip: &str) {
        let (left, right) = (self.x_of(span.0), self.x_of(span.1));
        let (bottom, top) = (self.y_of(from), self.y_of(to));
        let (width, height) = ((right - left).max(0.5), bottom - top);
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"><title>{tip}</title></rect>"#
        );
    }

    /// A point that tells `tip` when pointed at.
    pub(super) fn point(&mut self, class: &str, x: f64, y: f64, tip: &str) {
        let (x, y) = (self.x_of(x), self.y_of(y));
        let _ = writeln!(
            self.body,
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="3"><title>{tip}</title></circle>"#
        );
    }

    /// The whole of it; `label` says what it shows to those who do not see it.
    pub(super) fn svg(self, label: &str) -> String {
        let body = self.body;
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>"
        )
    }

    fn grid(&mut self) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut out = String::new();
        for (at, text) in &self.y.marks {
            let y = self.y_of(*at);
            let _ = writeln!(out, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#);
            let (x, y) = (LEFT - 6.0, y + 4.0);
            let _ = writeln!(out, r#"<text x="{x}" y="{y:.1}" text-anchor="end">{text}</text>"#);
        }
        for (at, text) in &self.x.marks {
            let (x, y) = (self.x_of(*at), bottom + 16.0);
            let _ = writeln!(out, r#"<path class="grid" d="M{x:.1} {TOP}V{bottom}"/>"#);
            let _ = writeln!(out, r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{text}</text>"#);
        }
        let (x_title, y_title, under) = (self.x.title, self.y.title, HEIGHT - 4.0);
        let _ =
            writeln!(out, r#"<text x="{right}" y="{under}" text-anchor="end">{x_title}</text>"#);
        let _ = writeln!(out, r#"<text x="4" y="12">{y_title}</text>"#);
        self.body.push_str(&out);
    }

    fn x_of(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_of(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|step| step * power);
    // A hair less, so that what was meant to be 5 is not taken for more.
    steps.into_iter().find(|step| least <= *step * 1.000_001).unwrap_or(10.0 * power)
}

/// A number as it stands at an axis.
pub(super) fn short(number: f64) -> String {
    match number {
        1e6.. => format!("{}M", trimmed(number / 1e6)),
        1e4.. => format!("{}k", trimmed(number / 1e3)),
        _ => trimmed(number),
    }
}

/// At most three decimals, and no zero at their end.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a handful of marks")]
fn whole(number: f64) -> u32 {
    number.min(100.0) as u32
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 36.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_round_numbers() {
        let texts = |high| {
            let axis = Axis::linear(high, "");
            axis.marks.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(87_000.0), ["0", "20k", "40k", "60k", "80k", "100k"]);
        assert_eq!(texts(1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(texts(0.0).first().map(String::as_str), Some("0"));
    }

    #[test]
    fn a_line_stays_between_the_axes() {
        let mut plot = Plot::new(Axis::linear(10.0, "s"), Axis::linear(10.0, "ms"));
        plot.line("c0", [(0.0, 0.0), (10.0, 10.0), (99.0, 99.0)].into_iter());
        let svg = plot.svg("test");
        assert!(svg.contains(r#"points="56.0,224.0 738.0,22.0 738.0,22.0""#), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
    }
}
