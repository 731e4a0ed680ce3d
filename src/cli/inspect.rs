//! `sealgate inspect`: what a header and a body say of themselves. No key is needed, and nothing is verified.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Environment, Failure};
use crate::format::envelope::Unverified;
use crate::format::geometry;
use crate::format::suite::{Kind, VERSION};
use crate::offline::{BodyFacts, header_beside, inspect_body, read_header};

#[derive(Args)]
pub(super) struct InspectArgs {
    /// The file of the header: its text or its raw bytes [default: BODY.sealgate, if it is there]
    #[arg(long, value_name = "FILE", conflicts_with = "header_text")]
    header: Option<PathBuf>,
    /// The header's text itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    header_text: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The body
    #[arg(required_unless_present_any = ["header", "header_text"])]
    body: Option<PathBuf>,
}

pub(super) fn run(args: &InspectArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let header = header(args)?;
    let body = args.body.as_deref().map(inspect_body).transpose()?;
    if args.json {
        let value = json!({
            "header": header.as_ref().map(header_json),
            "body": body.as_ref().map(body_json),
        });
        return env.say(format_args!("{value}"));
    }
    env.say(format_args!("Claims that nothing has verified:"))?;
    if let Some(header) = &header {
        say_header(header, env)?;
    }
    if let Some(body) = &body {
        say_body(body, env)?;
    }
    Ok(())
}

fn header(args: &InspectArgs) -> Result<Option<Unverified>, Failure> {
    if let Some(text) = &args.header_text {
        return Unverified::parse_text(text).map(Some).map_err(Failure::refused);
    }
    let path = match (&args.header, &args.body) {
        (Some(path), _) => path.clone(),
        (None, Some(body)) => {
            let beside = header_beside(body);
            if !beside.exists() {
                return Ok(None);
            }
            beside
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(read_header(&path)?))
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Simple => "simple",
        Kind::Multipart => "multipart",
        Kind::UploadState => "upload state",
    }
}

fn header_json(header: &Unverified) -> Value {
    let claims = header.danger_claims();
    json!({
        "version": VERSION,
        "suite": header.suite().byte(),
        "kind": kind(header.kind()),
        "kek_id": header.wrapped().kek_id.to_string(),
        "wrap_algorithm": header.wrapped().alg.to_string(),
        "plaintext_length": claims.plaintext_len,
        "sealed_metadata_length": claims.sealed_metadata_len,
        "header_length": claims.header_len,
    })
}

fn say_header(header: &Unverified, env: &mut Environment<'_>) -> Result<(), Failure> {
    let claims = header.danger_claims();
    let wrapped = header.wrapped();
    env.say(format_args!(
        "header     {} bytes, version {VERSION}, suite {}",
        claims.header_len,
        header.suite().byte()
    ))?;
    env.say(format_args!("kind       {}", kind(header.kind())))?;
    env.say(format_args!("KEK        {}, wraps by {}", wrapped.kek_id, wrapped.alg))?;
    match claims.plaintext_len {
        Some(len) => env.say(format_args!("plaintext  {len} bytes by the header"))?,
        None => env.say(format_args!("plaintext  length not in the header"))?,
    }
    env.say(format_args!("metadata   {} bytes, sealed", claims.sealed_metadata_len))
}

fn body_json(body: &BodyFacts) -> Value {
    let tail = match &body.tail {
        Ok(tail) => json!({
            "sealed_trailer_length": tail.sealed_trailer_len,
            "recovery_record_kek_id": tail.record_kek_id.map(|id| id.to_string()),
        }),
        Err(reason) => json!({ "fault": reason }),
    };
    let parts: Vec<Value> = body
        .parts
        .iter()
        .map(|part| json!({"number": part.part_no, "plaintext_length": part.plaintext_len, "offset": part.offset}))
        .collect();
    json!({
        "length": body.total,
        "plaintext_length": body.plaintext_len,
        "chunks": body.plaintext_len.filter(|_| body.parts.is_empty()).map(geometry::chunk_count),
        "tail": tail,
        "parts": parts,
    })
}

fn say_body(body: &BodyFacts, env: &mut Environment<'_>) -> Result<(), Failure> {
    env.say(format_args!("body       {} bytes", body.total))?;
    match body.plaintext_len {
        Some(len) => env.say(format_args!("plaintext  {len} bytes by the body's size"))?,
        None => env.say(format_args!("plaintext  no object has this size: cut, extended, or not sealed"))?,
    }
    match &body.tail {
        Ok(tail) => {
            env.say(format_args!("trailer    {} bytes, sealed", tail.sealed_trailer_len))?;
            match tail.record_kek_id {
                Some(id) => env.say(format_args!("record     for KEK {id}"))?,
                None => env.say(format_args!("record     none: it opens only with its header"))?,
            }
        }
        Err(reason) => env.say(format_args!("trailer    none: {reason}"))?,
    }
    for part in &body.parts {
        env.say(format_args!("part       {}: {} bytes at {}", part.part_no, part.plaintext_len, part.offset))?;
    }
    Ok(())
}
