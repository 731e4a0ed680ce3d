//! `sealgate demo`: the main job on the embedded store, with both views side by side.

use std::path::PathBuf;

use super::serve::random;
use super::{Environment, Failure, hexdump};
use crate::app;
use crate::demo::{BUCKET, Demo, DemoError, KEY, Views};
use crate::telemetry::{self, LogFormat, LogLevel};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The demo's folder; made if there is none, used again if there is
    #[arg(long, value_name = "DIR", default_value = "./sealgate-demo")]
    dir: PathBuf,
    /// The gateway's port on 127.0.0.1; the store gets the next one [default: 8333, or any free one with --once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..65535))]
    port: Option<u16>,
    /// Make the round trip, search the store's files for plaintext, and end
    #[arg(long)]
    once: bool,
}

const DEFAULT_PORT: u16 = 8333;
/// How much of the provider's view is shown.
const SHOWN: usize = 160;

fn failed(error: DemoError) -> Failure {
    match error {
        DemoError::Leak(_) | DemoError::Different => Failure::refused(error),
        error => Failure::failed(error),
    }
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    // whoever runs it twice in one process has a log already
    let _ = telemetry::init(LogLevel::Warn, LogFormat::Text);
    app::raise_file_limit();
    let random = random(env)?;
    let runtime = app::runtime().map_err(Failure::failed)?;
    let port = args.port.unwrap_or(if args.once { 0 } else { DEFAULT_PORT });
    let result = runtime.block_on(async {
        let mut demo = Demo::start(&args.dir, port, random).await.map_err(failed)?;
        let signals = (!args.once).then(app::Signals::listen).transpose().map_err(Failure::failed)?;
        let shown = show(&mut demo, args.once, env).await;
        if shown.is_ok()
            && let Some(signals) = signals
        {
            app::until_signalled(demo.running(), signals).await;
        }
        demo.end().await;
        shown
    });
    runtime.shutdown_background();
    result
}

async fn show(demo: &mut Demo, once: bool, env: &mut Environment<'_>) -> Result<(), Failure> {
    env.say(format_args!("The gateway, as an application sees it:   http://{}", demo.gateway))?;
    env.say(format_args!("The store behind it, as its provider:     http://{}", demo.store))?;
    let views = demo.round_trip().await.map_err(failed)?;
    show_views(&views, env)?;
    let searched = demo.hunt().map_err(failed)?;
    env.say(format_args!(
        "Searched {searched} bytes of the store's files: no run of 8 bytes of text, type or metadata, raw, hex or base64."
    ))?;
    if once {
        return env.stdout.flush().map_err(Failure::output);
    }
    let (dir, gateway, store) = (demo.dir.display(), demo.gateway, demo.store);
    env.say(format_args!(
        "\n{dir}/keyring holds the keys. {dir}/passphrase opens it: lying beside it, it protects nothing.\n\
         \nTo paste:\n\
         \n  export AWS_SHARED_CREDENTIALS_FILE={dir}/credentials\n\
         \n  aws --profile sealgate --endpoint-url http://{gateway} s3 ls s3://{BUCKET} --recursive\
         \n  aws --profile sealgate --endpoint-url http://{gateway} s3 cp README.md s3://{BUCKET}/\
         \n  aws --profile provider --endpoint-url http://{store} s3 cp 's3://{BUCKET}/{KEY}' - | xxd | head\n\
         \n  curl --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --user \"$(awk -F' = ' '/access_key_id/{{i=$2}} /secret/{{print i\":\"$2; exit}}' {dir}/credentials)\" \
         'http://{gateway}/{BUCKET}?list-type=2'\n\
         \n  rclone --s3-provider Other --s3-env-auth --s3-profile sealgate --s3-endpoint http://{gateway} lsl :s3:{BUCKET}\n\
         \nServing until Ctrl-C."
    ))?;
    env.stdout.flush().map_err(Failure::output)
}

fn show_views(views: &Views, env: &mut Environment<'_>) -> Result<(), Failure> {
    for (title, (headers, body)) in
        [("What the application reads", &views.application), ("What the provider holds", &views.provider)]
    {
        env.say(format_args!("\n── {title}: {BUCKET}/{KEY}"))?;
        for (name, value) in headers {
            let name = name.as_str();
            if name == "content-type" || name == "content-length" || name.starts_with("x-amz-meta-") {
                env.say(format_args!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
            }
        }
        match str::from_utf8(body) {
            Ok(text) if title.starts_with("What the app") => env.say(format_args!("\n{text}"))?,
            _ => env.say(format_args!("\n{}", hexdump(body, SHOWN)))?,
        }
    }
    Ok(())
}
