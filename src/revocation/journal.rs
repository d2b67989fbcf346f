//! The list in a file, so that it outlives the process, however that ends.
//!
//! # What holds
//! * A line is written, and is on the disk, before anybody is told that its token is revoked.
//! * A last line without its end was being written when the process ended: nobody was told of it,
//!   and it is left out. Whatever else is not as it was written stops the start: a list that lost
//!   an entry lets in who was locked out.
//! * The file is made anew, beside the old one and then in its place, where much of it has ended.
//! * One process at a time has it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::entry::{Entry, LINE_MAX_BYTES, Reaches};
use super::table::Entries;
use crate::base::time::UnixSeconds;

/// Why a list cannot be had from its file.
#[derive(Debug)]
pub enum JournalError {
    /// It cannot be read, made or written.
    Unusable(PathBuf, io::Error),
    /// Another process has it.
    Taken(PathBuf),
    /// The line of this number, counted from 1, is not as it was written.
    Corrupt(PathBuf, usize),
}

impl fmt::Display for JournalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(path, error) => write!(formatter, "{}: {error}", path.display()),
            Self::Taken(path) => {
                write!(formatter, "{}: another process keeps its list in it", path.display())
            }
            Self::Corrupt(path, line) => write!(
                formatter,
                "{}:{line}: this line is damaged. A list with a gap lets revoked tokens in: restore \
                 the file, or take the line out if you know what it was",
                path.display()
            ),
        }
    }
}

impl std::error::Error for JournalError {}

/// The file, open at its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    lines: usize,
}

/// What stands in a file, and what of it counts still.
#[derive(Debug, Default)]
struct Content {
    entries: Entries,
    length: u64,
    lines: usize,
    is_torn: bool,
}

impl Journal {
    /// Opens it, or makes it, and reads what it holds that counts still.
    ///
    /// # Errors
    /// When it cannot be used, another process has it, or a line is damaged.
    pub(super) fn open(path: &Path, now: UnixSeconds) -> Result<(Self, Entries), JournalError> {
        let unusable = |error| JournalError::Unusable(path.to_owned(), error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let file = options.open(path).map_err(unusable)?;
        lock(&file, path)?;
        let content = read(&file, path, now)?;
        if content.is_torn {
            let path = path.display();
            tracing::warn!(%path, "the last revocation was not written whole and is left out");
        }
        let Content { entries, length, lines, is_torn } = content;
        let living = || entries.iter().flat_map(|(mark, reaches)| reaches.entries(*mark));
        let mut journal = Self { path: path.to_owned(), file, length, lines };
        if is_torn || living().count() < lines {
            journal.make_anew(living()).map_err(unusable)?;
        }
        Ok((journal, entries))
    }

    /// Reads one that another process may have, and leaves it as it is.
    ///
    /// # Errors
    /// When it cannot be read, or a line is damaged. One that is not there is empty.
    pub(super) fn look(path: &Path, now: UnixSeconds) -> Result<Entries, JournalError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entries::default()),
            Err(error) => return Err(JournalError::Unusable(path.to_owned(), error)),
        };
        Ok(read(&file, path, now)?.entries)
    }

    /// Writes entries behind the others; they are on the disk when this returns.
    ///
    /// # Errors
    /// When they are not: the file is then as if nothing had been written, or the next write makes
    /// it so.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let text: String = entries.iter().map(Entry::line).collect();
        // Behind the last whole line, whatever a write that failed has left there.
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.length += text.len() as u64;
        self.lines += entries.len();
        Ok(())
    }

    /// Whether so much of it has ended that it should be made anew, where so many entries count.
    pub(super) fn is_grown(&self, living: usize) -> bool {
        living.saturating_mul(2).saturating_add(SLACK_LINES) < self.lines
    }

    /// Makes it anew with these entries alone: a new file takes the place of the old one.
    ///
    /// # Errors
    /// When it cannot; the old one then goes on.
    pub(super) fn make_anew(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        self.make_anew_by(entries, sync_folder)
    }

    fn make_anew_by(
        &mut self,
        entries: impl Iterator<Item = Entry>,
        sync_folder: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let beside = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(MODE);
        let file = options.open(&beside)?;
        file.lock()?;
        let mut writer = io::BufWriter::new(&file);
        let (mut length, mut lines) = (0, 0);
        for entry in entries {
            let line = entry.line();
            writer.write_all(line.as_bytes())?;
            (length, lines) = (length + line.len() as u64, lines + 1);
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        // From here on the path names the new one, and what is written to the old one is lost.
        (self.file, self.length, self.lines) = (file, length, lines);
        if let Err(error) = sync_folder(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the folder of the revocation list cannot be synced");
        }
        Ok(())
    }
}

#[cfg(test)]
impl Journal {
    /// Goes on with another file, and gives the one before.
    pub(super) fn swap(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// Has the folder of a file name it after a loss of power, too.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::Taken(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(JournalError::Unusable(path.to_owned(), error)),
    }
}

fn read(file: &File, path: &Path, now: UnixSeconds) -> Result<Content, JournalError> {
    let mut reader = BufReader::new(file);
    let mut content = Content::default();
    let mut line = Vec::with_capacity(LINE_MAX_BYTES);
    loop {
        line.clear();
        let most = LINE_MAX_BYTES as u64;
        let read = reader.by_ref().take(most).read_until(b'\n', &mut line);
        let read = read.map_err(|error| JournalError::Unusable(path.to_owned(), error))?;
        if read == 0 {
            return Ok(content);
        }
        let corrupt = || JournalError::Corrupt(path.to_owned(), content.lines + 1);
        let Some((b'\n', text)) = line.split_last() else {
            // No line is longer: what has no end by then is none of ours.
            if read == LINE_MAX_BYTES {
                return Err(corrupt());
            }
            content.is_torn = true;
            return Ok(content);
        };
        let entry = std::str::from_utf8(text).ok().and_then(Entry::parse).ok_or_else(corrupt)?;
        if entry.reach.is_living(now) {
            let reach = Reaches::from(entry.reach);
            let known = content.entries.entry(entry.mark).or_insert(reach);
            *known = known.and(reach);
        }
        content.length += read as u64;
        content.lines += 1;
    }
}

/// It says who was logged out when, to who can guess a name.
const MODE: u32 = 0o600;
/// Lines that have ended cost a little room: below so many it is not made anew for them.
const SLACK_LINES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{Mark, MarkKind};
    use crate::revocation::entry::Reach;

    /// A path of this test's own, gone with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("scopegate-journal-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const NOW: UnixSeconds = UnixSeconds::new(1_000);

    fn entry(number: i64, until: i64) -> Entry {
        let mark = Mark::of(MarkKind::Jti, "https://as.test", &number.to_string());
        Entry { mark, reach: Reach { until: UnixSeconds::new(until), issued_before: None } }
    }

    fn open(path: &Path) -> Result<(Journal, Entries), JournalError> {
        Journal::open(path, NOW)
    }

    #[test]
    fn what_was_written_is_read_and_what_has_ended_leaves() {
        let place = Place::new("read");
        let (mut journal, entries) = open(&place.0).unwrap();
        assert!(entries.is_empty());
        journal.append(&[entry(1, 2_000), entry(2, 1_000)]).unwrap();
        journal.append(&[entry(1, 3_000)]).unwrap();
        drop(journal);
        let (journal, entries) = open(&place.0).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries.get(&entry(1, 0).mark), Some(&entry(1, 3_000).reach.into()));
        assert_eq!(journal.lines, 1, "made anew");
        assert_eq!(std::fs::read_to_string(&place.0).unwrap(), entry(1, 3_000).line());
        let looked = Journal::look(&place.0, NOW).unwrap();
        assert_eq!(looked, entries);
    }

    #[test]
    fn a_torn_last_line_is_left_out_wherever_it_tore() {
        let place = Place::new("torn");
        let (whole, torn) = (entry(1, 2_000).line(), entry(2, 2_000).line());
        for at in 0..torn.len() {
            std::fs::write(&place.0, format!("{whole}{}", torn.get(..at).unwrap())).unwrap();
            let (mut journal, entries) = open(&place.0).unwrap();
            assert_eq!(entries.len(), 1, "torn at {at}");
            journal.append(&[entry(3, 2_000)]).unwrap();
            drop(journal);
            assert_eq!(open(&place.0).unwrap().1.len(), 2, "torn at {at}");
        }
    }

    #[test]
    fn any_other_damage_stops_the_start_and_is_told_with_its_line() {
        let place = Place::new("damage");
        let [one, two] = [1, 2].map(|number| entry(number, 2_000).line());
        let other = two.replace("jti", "sub");
        for (text, line) in [
            (format!("{one}{other}"), 2),
            (format!("{one}\n{two}"), 2),
            (format!("\0{one}{two}"), 1),
            (format!("{}\n{two}", one.get(..one.len() - 3).unwrap()), 1),
            (format!("{one}{two}{}", "x".repeat(500)), 3),
            (format!("{one}\u{e9}\n{two}"), 2),
        ] {
            std::fs::write(&place.0, &text).unwrap();
            match open(&place.0) {
                Err(JournalError::Corrupt(_, found)) => assert_eq!(found, line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
            assert_eq!(std::fs::read_to_string(&place.0).unwrap(), text, "left as it was");
        }
    }

    #[test]
    fn one_process_at_a_time_has_it() {
        let place = Place::new("lock");
        let (mut journal, _) = open(&place.0).unwrap();
        assert!(matches!(open(&place.0), Err(JournalError::Taken(_))));
        journal.make_anew([entry(1, 2_000)].into_iter()).unwrap();
        assert!(matches!(open(&place.0), Err(JournalError::Taken(_))), "the new one as well");
        assert_eq!(Journal::look(&place.0, NOW).unwrap().len(), 1);
    }

    #[test]
    fn what_comes_after_a_folder_that_cannot_be_synced_is_in_the_file_that_the_path_names() {
        let place = Place::new("folder");
        let (mut journal, _) = open(&place.0).unwrap();
        journal.append(&[entry(1, 2_000)]).unwrap();
        let failure = |_: &Path| Err(io::Error::other("no"));
        journal.make_anew_by([entry(1, 2_000)].into_iter(), failure).unwrap();
        journal.append(&[entry(2, 2_000)]).unwrap();
        drop(journal);
        assert_eq!(open(&place.0).unwrap().1.len(), 2);
    }

    #[test]
    fn it_is_grown_when_more_than_half_has_ended() {
        let place = Place::new("grown");
        let (mut journal, _) = open(&place.0).unwrap();
        journal.lines = 10_000;
        assert!(journal.is_grown(2_000) && !journal.is_grown(4_000));
    }
}
