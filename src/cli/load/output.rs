//! Results to standard output and into files.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::OutputArguments;
use crate::cli::say;
use crate::load::report::{self, Report};

/// A file that could not be written.
#[derive(Debug)]
pub(super) struct Unwritten(PathBuf, io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot write {}: {}", self.0.display(), self.1)
    }
}

/// Writes all that was asked for. Standard output comes first: it is there even where a file
/// cannot be written.
pub(super) fn write(output: &OutputArguments, report: &Report<'_>) -> Result<(), Unwritten> {
    match output.json {
        true => say(&format_args!("{:#}", report::json(report))),
        false => say(&report::table(report)),
    }
    if let Some(path) = &output.histogram {
        file(path, &report::percentiles(&report.summary.latency()))?;
    }
    if let Some(path) = &output.report {
        file(path, &report::page(report))?;
    }
    Ok(())
}

fn file(path: &Path, text: &str) -> Result<(), Unwritten> {
    fs::write(path, text).map_err(|error| Unwritten(path.to_owned(), error))
}
