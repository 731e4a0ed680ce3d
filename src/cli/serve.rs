//! `sealgate serve`: the gateway, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Environment, Failure};
use crate::app;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::crypto::random::RandomSource;
use crate::telemetry;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// A source of its own, which outlives the command's.
pub(super) fn random(env: &Environment<'_>) -> Result<Arc<RandomSource>, Failure> {
    let seed: [u8; 32] = env.random.draw_public(env.now(), b"serve").map_err(Failure::failed)?;
    Ok(Arc::new(RandomSource::new(&[&seed, &std::process::id().to_be_bytes()])))
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::usage)?;
    telemetry::init(config.log.0, config.log.1).map_err(Failure::failed)?;
    for warning in &config.warnings {
        tracing::warn!(target: "sealgate::config", line = warning.line, "{}", warning.message);
    }
    app::raise_file_limit();
    let random = random(env)?;
    let runtime = app::runtime().map_err(Failure::failed)?;
    let drained = runtime.block_on(async {
        let signals = app::Signals::listen().map_err(Failure::failed)?;
        let mut running = app::start(config, Arc::new(SystemClock), random).await.map_err(Failure::failed)?;
        tracing::info!(
            target: "sealgate::app",
            address = %running.address,
            admin = running.admin.map(tracing::field::display),
            version = env!("CARGO_PKG_VERSION"),
            "serving"
        );
        Ok::<_, Failure>(app::until_signalled(&mut running, signals).await)
    })?;
    tracing::info!(target: "sealgate::app", cut = drained.cut, "ended");
    runtime.shutdown_background();
    Ok(())
}
