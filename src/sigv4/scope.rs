//! The credential scope: for which day, region and service a signing key is good.

use super::date::AmzDate;

/// The id of a credential, public: 1 to 128 characters of visible ASCII without `,`, `=` and `;`. Not believed until
/// its claim is verified.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// The longest id in characters.
    pub const MAX_LEN: usize = 128;

    /// Checks length and characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=' | b';'));
        (fits && clean).then(|| Self(text.to_owned()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `date/region/s3/aws4_request`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CredentialScope {
    date: String,
    region: String,
}

const SERVICE: &str = "s3";
const TERMINATOR: &str = "aws4_request";

impl CredentialScope {
    /// The scope of a request of that time.
    #[must_use]
    pub fn new(date: AmzDate, region: &str) -> Self {
        Self { date: date.short(), region: region.to_owned() }
    }

    /// Reads `access key id/date/region/s3/aws4_request`; the id may itself contain `/`. The error says what is wrong.
    pub(super) fn parse_credential(text: &str) -> Result<(AccessKeyId, Self), &'static str> {
        let mut parts = text.rsplitn(5, '/');
        let mut part = || parts.next().ok_or("the Credential does not have five parts");
        let (terminator, service, region, date, id) = (part()?, part()?, part()?, part()?, part()?);
        if terminator != TERMINATOR {
            return Err("the Credential does not end in aws4_request");
        }
        if service != SERVICE {
            return Err("the Credential's service is not s3");
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("the Credential's date is not of the form YYYYMMDD");
        }
        let clean = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if region.is_empty() || region.len() > 64 || !clean {
            return Err("the Credential's region is malformed");
        }
        let id = AccessKeyId::parse(id).ok_or("the Credential's access key id is malformed")?;
        Ok((id, Self { date: date.to_owned(), region: region.to_owned() }))
    }

    /// `YYYYMMDD`.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.date
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// `s3`, always.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        SERVICE
    }

    /// `aws4_request`, always.
    #[must_use]
    pub const fn terminator(&self) -> &'static str {
        TERMINATOR
    }

    /// `date/region/s3/aws4_request`.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{}/{}/{SERVICE}/{TERMINATOR}", self.date, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_have_five_parts() {
        let (id, scope) = CredentialScope::parse_credential("AKID/20130524/us-east-1/s3/aws4_request").unwrap();
        assert_eq!(id.as_str(), "AKID");
        assert_eq!(scope.to_text(), "20130524/us-east-1/s3/aws4_request");
        let (id, _) = CredentialScope::parse_credential("a/b/20130524/eu/s3/aws4_request").unwrap();
        assert_eq!(id.as_str(), "a/b");
        for bad in [
            "",
            "AKID",
            "20130524/us-east-1/s3/aws4_request",
            "/20130524/us-east-1/s3/aws4_request",
            "AKID/2013052/us-east-1/s3/aws4_request",
            "AKID/2013052x/us-east-1/s3/aws4_request",
            "AKID/20130524//s3/aws4_request",
            "AKID/20130524/us-east-1/s4/aws4_request",
            "AKID/20130524/us-east-1/s3/aws4_request/",
            "AKID/20130524/us east/s3/aws4_request",
            "AK ID/20130524/us-east-1/s3/aws4_request",
            "AKID/20130524/us-east-1/S3/aws4_request",
        ] {
            assert!(CredentialScope::parse_credential(bad).is_err(), "{bad}");
        }
        assert!(AccessKeyId::parse(&"a".repeat(129)).is_none());
    }
}
