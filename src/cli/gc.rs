//! `sealgate gc`: what crashed uploads left in a bucket; a dry run unless it is told to delete.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Environment, Failure};
use crate::app;
use crate::clock::SystemClock;
use crate::config::{Config, parse_time};
use crate::gateway::records::initiator;
use crate::gateway::settings::BucketRule;
use crate::jobs::gc::Scope;
use crate::s3::target::BucketName;
use crate::s3::xml::format_time;
use crate::store::Upstream;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The bucket, as applications say it
    bucket: String,
    /// Leave what is younger
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    older_than: Duration,
    /// Delete what was found; without it nothing is changed
    #[arg(long)]
    delete: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| "a time such as 12h or 7d is expected".to_owned())
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::usage)?;
    let bucket = BucketName::parse(&args.bucket).map_err(|error| Failure::usage(error.message()))?;
    let rules = &config.settings.buckets;
    let rule = BucketRule::chosen(rules, bucket.as_str());
    let rule = rule.ok_or_else(|| Failure::usage("no [[bucket]] of the configuration fits that name"))?;
    let names = rule.names(&bucket).map_err(|error| Failure::usage(error.message()))?;
    let names = names.ok_or_else(|| Failure::usage("no [[bucket]] of the configuration fits that name"))?;
    let state_bucket = rule.state_bucket.clone().unwrap_or_else(|| names.upstream_name.clone());
    let upstream_name = rule.upstream.clone();
    let settings = config.upstreams.into_iter().find(|upstream| upstream.name == upstream_name);
    let settings = settings.ok_or_else(|| Failure::usage("the bucket's upstream is not configured"))?;
    let upstream = Upstream::new(settings, Arc::new(SystemClock)).map_err(Failure::failed)?;
    let credentials = config.settings.credentials.iter();
    let initiators = credentials
        .filter_map(|rule| Some((initiator(&rule.access_key_id), rule.upstream_credentials.as_ref()?)))
        .collect();
    let rules = rules.iter().filter(|rule| rule.upstream == upstream_name).collect();
    let scope =
        Scope { upstream: &upstream, bucket: &names.upstream_name, state_bucket: &state_bucket, rules, initiators };
    let runtime = app::runtime().map_err(Failure::failed)?;
    let survey = runtime.block_on(scope.survey(args.older_than, &SystemClock)).map_err(Failure::failed)?;
    let mut deleted = 0;
    if args.delete {
        let bar = super::progress::counter(env, survey.leftovers.len());
        deleted = runtime.block_on(scope.delete(&survey.leftovers, || bar.inc(1))).map_err(Failure::failed)?;
        bar.finish_and_clear();
    }
    let bytes: u64 = survey.leftovers.iter().map(|leftover| leftover.size).sum();
    if args.json {
        let leftovers: Vec<_> = survey
            .leftovers
            .iter()
            .map(|l| serde_json::json!({ "key": l.key, "size": l.size, "written": format_time(l.written) }))
            .collect();
        let value = serde_json::json!({
            "leftovers": leftovers,
            "bytes": bytes,
            "deleted": deleted,
            "younger": survey.young,
            "of_live_uploads": survey.live,
            "unjudged": survey.unjudged,
            "unfinished_uploads": survey.lists_uploads.then_some(survey.uploads),
            "oldest_upload": survey.oldest_upload.map(format_time),
            "uploads_without_state": survey.without_state,
        });
        return env.say(format_args!("{value}"));
    }
    for leftover in &survey.leftovers {
        env.say(format_args!("{}  {:>10}  {}", format_time(leftover.written), leftover.size, leftover.key))?;
    }
    let what = if args.delete { "deleted" } else { "found; --delete removes them" };
    env.say(format_args!("{} leftovers of crashed uploads, {bytes} bytes: {what}", survey.leftovers.len()))?;
    env.say(format_args!("{} are younger than the limit and stay", survey.young))?;
    env.say(format_args!("{} belong to unfinished uploads and stay", survey.live))?;
    if survey.unjudged > 0 {
        env.say(format_args!("{} could not be judged by the store's answers and stay", survey.unjudged))?;
    }
    if survey.lists_uploads {
        env.say(format_args!("{} unfinished uploads to this bucket", survey.uploads))?;
    } else {
        env.say(format_args!("the store does not list this bucket's uploads to the upstream's own credentials"))?;
    }
    if survey.without_state > 0 {
        env.say(format_args!(
            "{} of them have no state record and cannot be completed here: abort them, or let a lifecycle rule do it",
            survey.without_state
        ))?;
    }
    if let Some(oldest) = survey.oldest_upload {
        env.say(format_args!("the oldest unfinished upload began at {}", format_time(oldest)))?;
    }
    Ok(())
}
