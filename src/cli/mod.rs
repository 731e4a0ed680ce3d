//! The command line: one file per command, no prints but through [`Environment`], no exits but through [`Failure`].

mod check;
mod completions;
mod custody;
#[cfg(feature = "embedded")]
mod demo;
mod descriptor;
pub mod environment;
pub mod failure;
mod gc;
mod init;
mod inspect;
pub mod keyring_args;
mod keys;
mod kit;
mod open;
mod progress;
mod recovery;
mod reload;
mod seal;
mod serve;
mod terminal;
mod view;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use environment::{Environment, Prompt, Terminals};
pub use failure::{Exit, Failure};
use view::hexdump;

/// Client-side encryption gateway for object storage with customer-held keys
#[derive(Parser)]
#[command(name = "sealgate", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A gateway, a keyring and a store in one process, to look at both sides
    #[cfg(feature = "embedded")]
    Demo(demo::Args),
    /// Serve applications: the gateway
    Serve(serve::Args),
    /// Have a gateway that serves read its configuration again
    Reload(reload::Args),
    /// Validate a configuration, and try it out
    Check(check::Args),
    /// Remove what crashed uploads left in a bucket
    Gc(gc::Args),
    /// Make a keyring, its recovery kit and a starting configuration
    Init(init::Args),
    /// List, create, rotate, suspend, destroy and move keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Prove, use and renew the recovery kit
    #[command(subcommand)]
    Recovery(recovery::Command),
    /// Seal a file into a body and a header
    Seal(seal::SealArgs),
    /// Open a stored object, a folder or a manifest of them
    Open(open::OpenArgs),
    /// Show what a header and a body say of themselves; needs no key
    Inspect(inspect::InspectArgs),
    /// Write a shell's completions to standard output
    Completions(completions::CompletionsArgs),
    /// Write the man pages into a folder
    Man(completions::ManArgs),
    /// Print the version, and that of the format that it writes
    Version,
}

/// Runs the program with `arguments`, the program's own name first, and returns its exit code: 0 done, 1 failed,
/// 2 refused (policy or verification), 64 usage or configuration.
pub fn run(arguments: impl IntoIterator<Item = OsString>, env: &mut Environment<'_>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return answer_usage(&error, env),
    };
    let done = match cli.command {
        #[cfg(feature = "embedded")]
        Command::Demo(args) => demo::run(&args, env),
        Command::Serve(args) => serve::run(&args, env),
        Command::Reload(args) => reload::run(&args, env),
        Command::Check(args) => check::run(&args, env),
        Command::Gc(args) => gc::run(&args, env),
        Command::Init(args) => init::run(&args, env),
        Command::Keys(command) => keys::run(command, env),
        Command::Recovery(command) => recovery::run(&command, env),
        Command::Seal(args) => seal::run(&args, env),
        Command::Open(args) => open::run(&args, env),
        Command::Inspect(args) => inspect::run(&args, env),
        Command::Completions(args) => completions::run(&args, env),
        Command::Man(args) => completions::man(&args),
        Command::Version => env.say(format_args!("sealgate {} (object format 1)", env!("CARGO_PKG_VERSION"))),
    };
    // What was written last may still rest in a buffer, and its failure is the command's.
    match done.and_then(|()| env.stdout.flush().map_err(Failure::output)) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message().is_empty() {
                env.note(format_args!("sealgate: {}", failure.message()));
            }
            failure.exit().code()
        }
    }
}

/// Help and version go to stdout with 0, everything else to stderr with 64.
fn answer_usage(error: &clap::Error, env: &mut Environment<'_>) -> u8 {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let written = env.stdout.write_all(text.as_bytes()).and_then(|()| env.stdout.flush());
        return written.map_or_else(|error| Failure::output(error).exit().code(), |()| 0);
    }
    // With stderr gone there is nobody left to tell.
    let _ = env.stderr.write_all(text.as_bytes());
    Exit::Usage.code()
}

/// Runs a key provider's future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::failed)?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::path::Path;

    use clap::CommandFactory;
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::{FixedClock, Timestamp};
    use crate::crypto::random::RandomSource;

    /// A person at a terminal, who types these secrets when asked.
    struct Person(VecDeque<&'static str>);

    impl Prompt for Person {
        fn ask(&mut self, _: &str) -> io::Result<Zeroizing<String>> {
            let answer = self.0.pop_front().ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok(Zeroizing::new(answer.to_owned()))
        }

        fn clear(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Standard input that answers with the phrase that standard output shows.
    struct Copyist<'a> {
        shown: &'a std::cell::RefCell<Vec<u8>>,
        typed: Option<io::Cursor<Vec<u8>>>,
    }

    impl io::Read for Copyist<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let available = io::BufRead::fill_buf(self)?;
            let len = available.len().min(out.len());
            out[..len].copy_from_slice(&available[..len]);
            io::BufRead::consume(self, len);
            Ok(len)
        }
    }

    impl io::BufRead for Copyist<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            let shown = &self.shown;
            let typed = self.typed.get_or_insert_with(|| {
                let shown = shown.borrow();
                let text = str::from_utf8(&shown).unwrap().trim();
                // Enter first, then the numbered words as they stood on the screen.
                io::Cursor::new(format!("\n{text}\n").into_bytes())
            });
            typed.fill_buf()
        }

        fn consume(&mut self, len: usize) {
            if let Some(typed) = &mut self.typed {
                typed.consume(len);
            }
        }
    }

    struct Screen<'a>(&'a std::cell::RefCell<Vec<u8>>);

    impl io::Write for Screen<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `init` in `dir` at a terminal; code, screen, errors.
    fn init_at_a_terminal(dir: &Path, secrets: &[&'static str]) -> (u8, String, String) {
        init_with(dir, secrets, Terminals { stdin: true, stdout: true, stderr: true })
    }

    fn init_with(dir: &Path, secrets: &[&'static str], terminals: Terminals) -> (u8, String, String) {
        let shown = std::cell::RefCell::new(Vec::new());
        let mut errors = Vec::new();
        let random = RandomSource::new(&[b"terminal"]);
        let mut env = Environment {
            clock: &FixedClock(Timestamp::from_unix_millis(1)),
            random: &random,
            stdin: &mut Copyist { shown: &shown, typed: None },
            stdout: &mut Screen(&shown),
            stderr: &mut errors,
            terminals,
            prompt: &mut Person(secrets.iter().copied().collect()),
        };
        let arguments = ["sealgate", "init", "--dir"].map(OsString::from).into_iter().chain([dir.into()]);
        let code = run(arguments, &mut env);
        (code, String::from_utf8(shown.into_inner()).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn at_a_terminal_the_phrase_is_numbered_typed_back_and_wiped_from_the_screen() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("gate");
        let (code, screen, errors) = init_at_a_terminal(&dir, &["seven purple elephants", "seven purple elephants"]);
        assert_eq!(code, 0, "{errors}");
        assert!(screen.contains("  1. ") && screen.contains(" 24. "), "{screen}");
        assert!(screen.ends_with("\x1b[2J\x1b[3J\x1b[H"));
        assert!(dir.join("keyring").is_file() && dir.join("gateway.toml").is_file());
    }

    #[test]
    fn a_phrase_that_nobody_can_type_back_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let terminals = Terminals { stdin: false, stdout: true, stderr: true };
        let (code, screen, errors) = init_with(&folder.path().join("gate"), &["seven purple elephants"; 2], terminals);
        assert_eq!((code, screen.as_str()), (64, ""));
        assert!(errors.contains("typed back"), "{errors}");
    }

    #[test]
    fn passphrases_that_differ_make_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("gate");
        let (code, screen, errors) = init_at_a_terminal(&dir, &["seven purple elephants", "seven purple elephant"]);
        assert_eq!((code, screen.as_str()), (2, ""));
        assert!(errors.contains("differ") && !errors.contains("purple"), "{errors}");
        assert!(!dir.exists());
        let (code, _, errors) = init_at_a_terminal(&dir, &[]);
        assert_eq!(code, 1);
        assert!(errors.contains("input ended"), "{errors}");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn futures_run_to_their_end() {
        assert_eq!(block_on(async { 7 }).ok(), Some(7));
    }
}
