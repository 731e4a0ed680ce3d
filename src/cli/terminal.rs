//! A person at the controlling terminal: asked for a secret without an echo, and left with a terminal as it was.
//!
//! Only the echo is switched off. `^C` and `^Z` stay signals; while the question stands they are caught, the terminal
//! is put back, and then they do what they always do.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::flag::{register_conditional_default, register_usize};
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use super::environment::Prompt;

const CAUGHT: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP];
/// A terminal cuts longer lines without a word.
const MAX_TYPED: usize = 4095;
/// How long a signal may go unnoticed that comes between the look for it and the wait for input.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Asks on the controlling terminal, whatever the standard streams are.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalPrompt;

impl Prompt for TerminalPrompt {
    fn ask(&mut self, question: &str) -> io::Result<Zeroizing<String>> {
        let tty = terminal()?;
        let held = Held::new()?;
        loop {
            let muted = Muted::new(&tty)?;
            (&tty).write_all(question.as_bytes())?;
            let line = read_line(&tty, held.signals);
            drop(muted);
            let signal = held.signals.caught.swap(0, Ordering::SeqCst);
            if signal == 0 {
                return line;
            }
            // The line that was begun is gone.
            let _ = (&tty).write_all(b"\n");
            let signal = i32::try_from(signal).unwrap_or(SIGINT);
            emulate_default_handler(signal)?;
            // Whoever stopped the program has continued it: the question is asked again.
            if signal != SIGTSTP {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }

    fn clear(&mut self) -> io::Result<()> {
        terminal()?.write_all(WIPE)
    }
}

/// Wipes a terminal's screen and scrollback.
pub(super) const WIPE: &[u8] = b"\x1b[2J\x1b[3J\x1b[H";

fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// What the signal handlers, which stay for the life of the process, do and tell.
struct Signals {
    /// Whether signals do what they do by default.
    ordinary: Arc<AtomicBool>,
    /// The last signal that came while they did not, or 0.
    caught: Arc<AtomicUsize>,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let signals = Self { ordinary: Arc::new(AtomicBool::new(true)), caught: Arc::new(AtomicUsize::new(0)) };
        for signal in CAUGHT {
            register_conditional_default(signal, Arc::clone(&signals.ordinary))?;
            register_usize(signal, Arc::clone(&signals.caught), usize::try_from(signal).unwrap_or(1))?;
        }
        Ok(signals)
    }
}

/// Signals are held back as long as this lives.
struct Held {
    signals: &'static Signals,
}

impl Held {
    fn new() -> io::Result<Self> {
        static SIGNALS: OnceLock<Result<Signals, io::ErrorKind>> = OnceLock::new();
        let signals = SIGNALS.get_or_init(|| Signals::register().map_err(|error| error.kind()));
        let signals = signals.as_ref().map_err(|kind| io::Error::from(*kind))?;
        signals.caught.store(0, Ordering::SeqCst);
        signals.ordinary.store(false, Ordering::SeqCst);
        Ok(Self { signals })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.signals.ordinary.store(true, Ordering::SeqCst);
        // One that came at the last moment is not lost.
        if let Ok(signal @ 1..) = i32::try_from(self.signals.caught.swap(0, Ordering::SeqCst)) {
            let _ = emulate_default_handler(signal);
        }
    }
}

/// A terminal without echo, until this is dropped.
struct Muted<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Muted<'a> {
    fn new(tty: &'a File) -> io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        let muted = Self { tty, before };
        tcsetattr(tty, OptionalActions::Now, &quiet)?;
        Ok(muted)
    }
}

impl Drop for Muted<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty, OptionalActions::Now, &self.before);
    }
}

/// One line without its end. A signal ends the wait.
fn read_line(mut tty: &File, signals: &Signals) -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(2 * MAX_TYPED));
    let mut buffer = Zeroizing::new([0; MAX_TYPED + 1]);
    loop {
        if signals.caught.load(Ordering::SeqCst) != 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match poll(&mut [PollFd::new(&tty, PollFlags::IN)], Some(&GLANCE)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let len = match tty.read(buffer.as_mut_slice()) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = buffer.get(..len).unwrap_or_default();
        if read.is_empty() && line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = read.strip_suffix(b"\n").unwrap_or(read);
        if line.len().saturating_add(text.len()) >= MAX_TYPED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is longer than a terminal takes"));
        }
        line.extend_from_slice(text);
        if read.is_empty() || text.len() < read.len() {
            let text = str::from_utf8(&line);
            let text = text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8"))?;
            return Ok(Zeroizing::new(text.to_owned()));
        }
    }
}
