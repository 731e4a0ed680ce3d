//! `sealgate reload`: asks a gateway that serves to read its configuration again, and tells the outcome.

use std::path::PathBuf;

use super::{Environment, Failure};
use crate::admin::actions;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The gateway's socket: `socket` of `[admin]` in its configuration
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::failed(format!("{}: {error}", args.socket.display()));
    match actions::ask_to_reload(&args.socket).map_err(cannot)? {
        Ok(()) => {
            env.note(format_args!("the configuration was read again"));
            Ok(())
        }
        Err(error) => Err(Failure::failed(format!("the old configuration stays: {error}"))),
    }
}
