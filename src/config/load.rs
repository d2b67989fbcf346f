//! Reading a configuration, from files to compiled values.

use std::collections::BTreeMap;
use std::path::Path;

use super::context::Context;
use super::problem::{Problem, Problems, Severity};
use super::source::{self, Source, Sources};
use super::{Config, compile, hide, tree};
use crate::base::digest::Digest;
use crate::oauth::Plaintext;

/// A configuration that can be used, and what should be looked at nevertheless.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but should not be so.
    pub warnings: Vec<Problem>,
}

/// Reads a file, or all `*.toml` of a folder in the order of their names: `[[…]]` of several files
/// add up, tables are merged key by key.
///
/// # Errors
/// All that is wrong, at once: what cannot be read, syntax, unknown keys, values, references.
pub fn load(path: &Path, plaintext: Plaintext) -> Result<Loaded, Problems> {
    parse(source::read(path).map_err(Problems::new)?, plaintext)
}

/// Compiles what was read. Secrets, keys and certificates are read from where the sources say;
/// relative paths start in the folder of the source that names them.
///
/// # Errors
/// As [`load`].
pub fn parse(sources: Vec<Source>, plaintext: Plaintext) -> Result<Loaded, Problems> {
    walk(sources, plaintext, |_| ())
}

/// `then` sees the context of the finished walk: which keys it asked for.
pub(super) fn walk(
    sources: Vec<Source>,
    plaintext: Plaintext,
    then: impl FnOnce(&Context),
) -> Result<Loaded, Problems> {
    let texts: Vec<&[u8]> = sources.iter().map(|source| source.text.as_bytes()).collect();
    let digest = Digest::of_parts(&texts);
    let (context, document) = read(Sources::new(sources), plaintext);
    let config = compile::config(context.root(document), digest);
    then(&context);
    let problems = context.into_problems();
    let is_usable = problems.iter().all(|problem| problem.severity() == Severity::Warning);
    match config {
        Ok(config) if is_usable => Ok(Loaded { config, warnings: problems }),
        _ => Err(Problems::new(problems)),
    }
}

/// All sources as one document, and what is wrong with their syntax.
fn read(mut sources: Sources, plaintext: Plaintext) -> (Context, BTreeMap<String, tree::Entry>) {
    let mut document = BTreeMap::new();
    let mut errors = Vec::new();
    let mut twice = Vec::new();
    let mut hidden = Vec::new();
    for (index, source) in sources.files().iter().enumerate() {
        let (entries, more) = tree::parse(source, index);
        hidden.extend(hide::in_tree(&entries, source));
        if !more.is_empty() {
            hidden.extend(hide::in_text(source, index));
        }
        errors.extend(more);
        tree::merge(&mut document, entries, "", &mut twice);
    }
    sources.hide(hidden);
    let context = Context::new(sources, plaintext);
    for error in errors {
        context.syntax(error.span, &error.message);
    }
    for tree::DefinedTwice { key, first, second } in twice {
        context.twice(&key, first, second);
    }
    (context, document)
}
