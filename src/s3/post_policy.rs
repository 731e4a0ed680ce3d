//! The policy of a POST form: until when, and with which fields, a file may be uploaded.
//!
//! Every field of the form must meet a condition of the policy; a field that no condition names is refused, as is a
//! condition whose field is missing. The bucket counts as a field: a policy that does not name it is good for none. Source: "POST Policy", "Condition Matching".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::error::{ErrorCode, S3Error};
use super::xml::parse_time;
use crate::clock::Timestamp;

/// The longest policy, in base64.
const MAX_POLICY_LEN: usize = 20_480;
/// Fields that need no condition: those of the signature, and the file.
const EXEMPT: [&str; 5] = ["policy", "x-amz-signature", "file", "awsaccesskeyid", "signature"];

enum Condition {
    Equals(String, String),
    StartsWith(String, String),
}

/// A policy whose signature holds. It has no `Debug`: it holds names.
pub struct PostPolicy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    length: Option<(u64, u64)>,
}

fn malformed() -> S3Error {
    ErrorCode::InvalidPolicyDocument.into()
}

fn denied(why: impl std::fmt::Display) -> S3Error {
    S3Error::new(ErrorCode::AccessDenied, format!("Invalid according to Policy: {why}"))
}

/// What an answer may hold of the form's words.
fn shown(text: &str) -> String {
    text.chars().take(256).filter(|c| !c.is_control()).collect()
}

impl PostPolicy {
    /// Reads the policy that [`crate::sigv4::PostClaim::verify`] has answered.
    pub fn parse(base64: &[u8]) -> Result<Self, S3Error> {
        if base64.len() > MAX_POLICY_LEN {
            return Err(malformed());
        }
        let json = STANDARD.decode(base64).map_err(|_| malformed())?;
        let policy: Value = serde_json::from_slice(&json).map_err(|_| malformed())?;
        let policy = policy.as_object().filter(|object| object.len() == 2).ok_or_else(malformed)?;
        let expiration = policy.get("expiration").and_then(Value::as_str).and_then(parse_time).ok_or_else(malformed)?;
        let list = policy.get("conditions").and_then(Value::as_array).ok_or_else(malformed)?;
        let (mut conditions, mut length) = (Vec::new(), None);
        for condition in list {
            match condition {
                Value::Object(pairs) if pairs.is_empty() => return Err(malformed()),
                Value::Object(pairs) => {
                    for (name, value) in pairs {
                        let value = value.as_str().ok_or_else(malformed)?;
                        conditions.push(Condition::Equals(name.to_ascii_lowercase(), value.to_owned()));
                    }
                }
                Value::Array(parts) => match parts.as_slice() {
                    [Value::String(kind), Value::String(name), Value::String(value)] => {
                        let name = name.strip_prefix('$').ok_or_else(malformed)?.to_ascii_lowercase();
                        conditions.push(match kind.to_ascii_lowercase().as_str() {
                            "eq" => Condition::Equals(name, value.clone()),
                            "starts-with" => Condition::StartsWith(name, value.clone()),
                            _ => return Err(malformed()),
                        });
                    }
                    [Value::String(kind), least, most] if kind.eq_ignore_ascii_case("content-length-range") => {
                        let number = |value: &Value| match value {
                            Value::String(text) => text.parse().ok(),
                            value => value.as_u64(),
                        };
                        let range = (number(least).ok_or_else(malformed)?, number(most).ok_or_else(malformed)?);
                        if length.replace(range).is_some() {
                            return Err(malformed());
                        }
                    }
                    _ => return Err(malformed()),
                },
                _ => return Err(malformed()),
            }
        }
        Ok(Self { expiration, conditions, length })
    }

    /// Judges a form: its fields before `file` (names of any case, `${filename}` already put in) and the bucket it is
    /// sent to. A refusal shows the condition that failed, which the sender has in the policy, or names the field that has
    /// none; never what the form said.
    pub fn check(&self, fields: &[(&str, &str)], bucket: &str, now: Timestamp) -> Result<(), S3Error> {
        if now > self.expiration {
            return Err(denied("Policy expired."));
        }
        let mut seen: Vec<(String, &str)> = fields.iter().map(|(n, value)| (n.to_ascii_lowercase(), *value)).collect();
        seen.retain(|(name, _)| name != "bucket");
        seen.push(("bucket".to_owned(), bucket));
        for (index, (name, _)) in seen.iter().enumerate() {
            if seen.iter().take(index).any(|(other, _)| other == name) {
                return Err(S3Error::new(ErrorCode::InvalidArgument, "A field of the form stands twice."));
            }
        }
        for condition in &self.conditions {
            let (Condition::Equals(name, wanted) | Condition::StartsWith(name, wanted)) = condition;
            let value = seen.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            let holds = match (condition, value) {
                (Condition::Equals(..), Some(value)) => value == wanted,
                (Condition::StartsWith(..), Some(value)) => value.starts_with(wanted.as_str()),
                (_, None) => false,
            };
            if !holds {
                let kind = if matches!(condition, Condition::Equals(..)) { "eq" } else { "starts-with" };
                let (name, wanted) = (shown(name), shown(wanted));
                return Err(denied(format_args!("Policy Condition failed: [\"{kind}\", \"${name}\", \"{wanted}\"]")));
            }
        }
        for (name, _) in &seen {
            let free = name.starts_with("x-ignore-") || EXEMPT.contains(&name.as_str());
            let named = self.conditions.iter().any(|condition| {
                let (Condition::Equals(other, _) | Condition::StartsWith(other, _)) = condition;
                other == name
            });
            if !free && !named {
                return Err(denied(format_args!("Extra input fields: {}", shown(name))));
            }
        }
        Ok(())
    }

    /// The least and greatest length of the file, where the policy has a `content-length-range`.
    #[must_use]
    pub const fn length(&self) -> Option<(u64, u64)> {
        self.length
    }

    /// Judges the file's length.
    pub fn check_length(&self, len: u64) -> Result<(), S3Error> {
        match self.length {
            Some((least, _)) if len < least => Err(ErrorCode::EntityTooSmall.into()),
            Some((_, most)) if len > most => Err(ErrorCode::EntityTooLarge.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_451_476_800_000);

    fn policy(conditions: &str) -> Result<PostPolicy, ErrorCode> {
        let json = format!("{{\"expiration\": \"2015-12-30T12:00:00.000Z\", \"conditions\": [{conditions}]}}");
        PostPolicy::parse(STANDARD.encode(json).as_bytes()).map_err(|e| e.code())
    }

    fn verdict(conditions: &str, fields: &[(&str, &str)], now: Timestamp) -> Option<ErrorCode> {
        policy(conditions).ok().unwrap().check(fields, "bkt", now).err().map(|e| e.code())
    }

    #[test]
    fn fields_must_meet_their_conditions_and_have_one() {
        let conditions =
            "{\"bucket\": \"bkt\"}, [\"starts-with\", \"$key\", \"user/\"], [\"eq\", \"$acl\", \"private\"]";
        let good =
            [("Key", "user/a"), ("acl", "private"), ("Policy", "p"), ("x-ignore-a", "b"), ("X-Amz-Signature", "s")];
        assert_eq!(verdict(conditions, &good, NOW), None);
        let denied = Some(ErrorCode::AccessDenied);
        assert_eq!(verdict(conditions, &good, Timestamp::from_unix_millis(NOW.unix_millis() + 1)), denied);
        assert_eq!(verdict(conditions, &[("key", "other/a"), ("acl", "private")], NOW), denied);
        assert_eq!(verdict(conditions, &[("key", "user/a"), ("acl", "public-read")], NOW), denied);
        assert_eq!(verdict(conditions, &[("key", "user/a")], NOW), denied);
        assert_eq!(verdict(conditions, &[good[0], good[1], ("x-amz-meta-a", "b")], NOW), denied);
        assert_eq!(verdict("{\"bucket\": \"other\"}", &[("bucket", "other")], NOW), denied);
        assert_eq!(verdict("[\"eq\", \"$key\", \"a\"]", &[("key", "a")], NOW), denied);
        assert_eq!(verdict("[\"eq\", \"$key\", \"a\"]", &[("key", "a"), ("bucket", "bkt")], NOW), denied);
        assert_eq!(verdict(conditions, &[good[0], good[1], ("KEY", "x")], NOW), Some(ErrorCode::InvalidArgument));
    }

    #[test]
    fn a_refusal_shows_the_condition_and_not_what_the_form_said() {
        let conditions = "{\"bucket\": \"bkt\"}, [\"starts-with\", \"$Key\", \"user/\"], {\"acl\": \"private\"}";
        for (fields, said) in [
            (
                &[("key", "secret/a"), ("acl", "private")][..],
                "Policy Condition failed: [\"starts-with\", \"$key\", \"user/\"]",
            ),
            (&[("key", "user/a"), ("acl", "public-read")], "Policy Condition failed: [\"eq\", \"$acl\", \"private\"]"),
            (&[("key", "user/a"), ("acl", "private"), ("Tagging", "secret")], "Extra input fields: tagging"),
        ] {
            let refusal = policy(conditions).ok().unwrap().check(fields, "bkt", NOW).unwrap_err();
            assert_eq!(refusal.message(), format!("Invalid according to Policy: {said}"));
        }
    }

    #[test]
    fn the_file_has_a_length_within_the_range() {
        let policy = policy("[\"content-length-range\", 2, \"4\"]").ok().unwrap();
        assert_eq!(policy.length(), Some((2, 4)));
        for (len, code) in
            [(1, Some(ErrorCode::EntityTooSmall)), (2, None), (4, None), (5, Some(ErrorCode::EntityTooLarge))]
        {
            assert_eq!(policy.check_length(len).err().map(|e| e.code()), code);
        }
    }

    #[test]
    fn malformed_policies_are_refused() {
        for bad in [
            "1",
            "[]",
            "{}",
            "[\"eq\"]",
            "[\"eq\", \"key\", \"a\"]",
            "[\"like\", \"$key\", \"a\"]",
            "{\"key\": 1}",
            "[\"content-length-range\", -1, 2]",
        ] {
            assert_eq!(policy(bad).err(), Some(ErrorCode::InvalidPolicyDocument), "{bad}");
        }
        for bad in [&b"!"[..], b"", b"e30=", &[b'A'; 16_000], &b"AAAA".repeat(6000)] {
            assert!(PostPolicy::parse(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn hostile_policies_never_panic(json in ".{0,200}") {
            let _ = PostPolicy::parse(STANDARD.encode(json).as_bytes());
        }
    }
}
