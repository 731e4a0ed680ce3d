//! The `sealgate` program: arguments in, exit code out.

use std::io::{self, IsTerminal, stderr, stdin, stdout};
use std::process::{ExitCode, id};

use sealgate::cli::environment::TerminalPrompt;
use sealgate::cli::{Environment, Terminals, run};
use sealgate::clock::{Clock, SystemClock};
use sealgate::crypto::random::RandomSource;

/// Keeps secrets out of core dumps and from other processes of the same user that would attach to this one. Where the
/// system refuses, the program does no worse than any other.
fn forbid_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn main() -> ExitCode {
    forbid_dumps();
    let clock = SystemClock;
    let started = clock.now().unix_millis().to_be_bytes();
    let random = RandomSource::new(&[&id().to_be_bytes(), &started, rustix::system::uname().nodename().to_bytes()]);
    let terminals =
        Terminals { stdin: stdin().is_terminal(), stdout: stdout().is_terminal(), stderr: stderr().is_terminal() };
    let mut env = Environment {
        clock: &clock,
        random: &random,
        stdin: &mut stdin().lock(),
        stdout: &mut io::BufWriter::new(stdout().lock()),
        // not locked: the log writes there from other threads
        stderr: &mut stderr(),
        terminals,
        prompt: &mut TerminalPrompt,
    };
    let code = run(std::env::args_os(), &mut env);
    sealgate::telemetry::flush();
    ExitCode::from(code)
}
