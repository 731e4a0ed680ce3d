//! Everything outside that a command touches besides files, so that a test can stand in for it.

use std::fmt;
use std::io::{self, BufRead, Write};

use zeroize::Zeroizing;

use super::Failure;
pub use super::terminal::TerminalPrompt;
use crate::clock::{Clock, Timestamp};
use crate::crypto::random::RandomSource;

/// The longest line that is read from standard input, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Which of the standard streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Asks a person for a secret without showing it.
pub trait Prompt {
    /// Shows `question` and reads one line.
    fn ask(&mut self, question: &str) -> io::Result<Zeroizing<String>>;

    /// Wipes what stands on the person's screen.
    fn clear(&mut self) -> io::Result<()>;
}

/// What a command sees of the world.
pub struct Environment<'a> {
    /// The time.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub random: &'a RandomSource,
    /// Standard input.
    pub stdin: &'a mut dyn BufRead,
    /// Standard output: what was asked for.
    pub stdout: &'a mut dyn Write,
    /// Standard error: what should be known besides.
    pub stderr: &'a mut dyn Write,
    /// Which of them are terminals.
    pub terminals: Terminals,
    /// How a person is asked for a secret.
    pub prompt: &'a mut dyn Prompt,
}

impl Environment<'_> {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes a line to standard output.
    pub fn say(&mut self, line: fmt::Arguments<'_>) -> Result<(), Failure> {
        writeln!(self.stdout, "{line}").map_err(Failure::output)
    }

    /// Writes a line to standard error. If nobody reads it, nobody misses it.
    pub fn note(&mut self, line: fmt::Arguments<'_>) {
        let _ = writeln!(self.stderr, "{line}");
    }

    /// Asks for a line: the question goes to standard error, the answer comes from standard input.
    pub fn ask_line(&mut self, question: &str) -> Result<Option<Zeroizing<String>>, Failure> {
        self.stdout.flush().map_err(Failure::output)?;
        let _ = write!(self.stderr, "{question}").and_then(|()| self.stderr.flush());
        self.read_line()
    }

    /// Wipes a secret that was typed into standard input, where the terminal showed it. Writes nothing where there is
    /// none.
    pub fn clear_typed(&mut self) {
        if self.terminals.stdin {
            let _ = self.prompt.clear();
        }
    }

    /// The next line of standard input without its end, or `None` at the end of input.
    pub fn read_line(&mut self) -> Result<Option<Zeroizing<String>>, Failure> {
        read_line_of(&mut self.stdin).map_err(|error| Failure::failed(format_args!("standard input: {error}")))
    }
}

/// The next line of `input` without its end, or `None` at its end. Reads no byte behind the line from an unbuffered
/// input.
pub(super) fn read_line_of(input: &mut dyn BufRead) -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::with_capacity(512));
    let mut limited = io::Read::take(input, MAX_LINE);
    if limited.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    if limited.limit() == 0 && !line.ends_with('\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
    }
    let len = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(len);
    Ok(Some(line))
}
