//! The `sealgate` program: arguments in, exit code out.

use std::io::{self, IsTerminal, stderr, stdin, stdout};
use std::process::{ExitCode, id};

use sealgate::cli::environment::TerminalPrompt;
use sealgate::cli::{Environment, Terminals, run};
use sealgate::clock::{Clock, SystemClock};
use sealgate::crypto::random::RandomSource;

fn main() -> ExitCode {
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
        stderr: &mut stderr().lock(),
        terminals,
        prompt: &mut TerminalPrompt,
    };
    ExitCode::from(run(std::env::args_os(), &mut env))
}
