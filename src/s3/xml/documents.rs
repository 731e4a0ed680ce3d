//! The documents of versioning and object lock.

use super::{Element, XmlError, XmlLimits, XmlWriter, format_time};
use crate::clock::Timestamp;
use crate::s3::error::{ErrorCode, S3Error};

/// Reads what a client sends: what is not understood is refused.
fn of_client(body: &[u8], name: &str) -> Result<Element, S3Error> {
    let root = Element::parse(body, XmlLimits::SMALL)?;
    if root.name == name { Ok(root) } else { Err(ErrorCode::MalformedXML.into()) }
}

/// Whether a bucket's versions are kept, where anybody ever said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersioningStatus {
    /// They are.
    Enabled,
    /// They were; those that were kept stay.
    Suspended,
}

/// The document of `?versioning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersioningConfiguration {
    /// None: never.
    pub status: Option<VersioningStatus>,
}

impl VersioningConfiguration {
    /// The document.
    #[must_use]
    pub fn to_xml(self) -> String {
        let status = self.status.map(|status| match status {
            VersioningStatus::Enabled => "Enabled",
            VersioningStatus::Suspended => "Suspended",
        });
        let mut xml = XmlWriter::new();
        xml.root("VersioningConfiguration");
        xml.option("Status", status);
        xml.close("VersioningConfiguration");
        xml.finish()
    }

    /// Reads what a client sends. Deletion by a second factor is 501.
    pub fn of_client(body: &[u8]) -> Result<Self, S3Error> {
        let root = of_client(body, "VersioningConfiguration")?;
        root.only(&["Status", "MfaDelete"], &[])?;
        match root.text("MfaDelete").map(str::trim_ascii) {
            None | Some("Disabled") => {}
            Some("Enabled") => return Err(S3Error::not_implemented("MFA delete")),
            Some(_) => return Err(ErrorCode::MalformedXML.into()),
        }
        let status = match root.text("Status").map(str::trim_ascii) {
            Some("Enabled") => VersioningStatus::Enabled,
            Some("Suspended") => VersioningStatus::Suspended,
            Some(_) => return Err(ErrorCode::MalformedXML.into()),
            None => return Err(ErrorCode::IllegalVersioningConfigurationException.into()),
        };
        Ok(Self { status: Some(status) })
    }
}

/// How strictly a retention holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Who has the right to can bypass it.
    Governance,
    /// Nobody can.
    Compliance,
}

impl LockMode {
    /// S3's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// By S3's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|mode| mode.name() == name)
    }

    fn of(element: &Element) -> Result<Self, XmlError> {
        Self::from_name(element.need("Mode")?.trim_ascii()).ok_or(XmlError("an unknown mode"))
    }
}

/// The document of an object's `?retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionDocument {
    /// How, and until when; none takes it off.
    pub retention: Option<(LockMode, Timestamp)>,
}

impl RetentionDocument {
    /// The document.
    #[must_use]
    pub fn to_xml(self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("Retention");
        if let Some((mode, until)) = self.retention {
            xml.text("Mode", mode.name());
            xml.text("RetainUntilDate", &format_time(until));
        }
        xml.close("Retention");
        xml.finish()
    }

    /// Reads what a client sends.
    pub fn of_client(body: &[u8]) -> Result<Self, S3Error> {
        let root = of_client(body, "Retention")?;
        root.only(&["Mode", "RetainUntilDate"], &[])?;
        if root.children.is_empty() {
            return Ok(Self { retention: None });
        }
        let until = root.time("RetainUntilDate")?.ok_or(XmlError("a time is missing"))?;
        Ok(Self { retention: Some((LockMode::of(&root)?, until)) })
    }
}

/// The document of an object's `?legal-hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegalHold(pub bool);

impl LegalHold {
    /// S3's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        if self.0 { "ON" } else { "OFF" }
    }

    /// By S3's word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self(true), Self(false)].into_iter().find(|hold| hold.name() == name)
    }

    /// The document.
    #[must_use]
    pub fn to_xml(self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("LegalHold");
        xml.text("Status", self.name());
        xml.close("LegalHold");
        xml.finish()
    }

    /// Reads what a client sends.
    pub fn of_client(body: &[u8]) -> Result<Self, S3Error> {
        let root = of_client(body, "LegalHold")?;
        root.only(&["Status"], &[])?;
        Self::from_name(root.need("Status")?.trim_ascii()).ok_or(ErrorCode::MalformedXML.into())
    }
}

/// For how long what is written is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockPeriod {
    /// So many days.
    Days(u32),
    /// So many years.
    Years(u32),
}

/// The document of a bucket's `?object-lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLockConfiguration {
    /// What holds of every new object that comes without a retention of its own.
    pub default: Option<(LockMode, LockPeriod)>,
}

impl ObjectLockConfiguration {
    /// The document.
    #[must_use]
    pub fn to_xml(self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("ObjectLockConfiguration");
        xml.text("ObjectLockEnabled", "Enabled");
        if let Some((mode, period)) = self.default {
            xml.open("Rule");
            xml.open("DefaultRetention");
            xml.text("Mode", mode.name());
            match period {
                LockPeriod::Days(days) => xml.number("Days", days),
                LockPeriod::Years(years) => xml.number("Years", years),
            }
            xml.close("DefaultRetention");
            xml.close("Rule");
        }
        xml.close("ObjectLockConfiguration");
        xml.finish()
    }

    /// Reads what a client sends.
    pub fn of_client(body: &[u8]) -> Result<Self, S3Error> {
        let root = of_client(body, "ObjectLockConfiguration")?;
        root.only(&["ObjectLockEnabled"], &["Rule"])?;
        if root.need("ObjectLockEnabled")?.trim_ascii() != "Enabled" {
            return Err(ErrorCode::MalformedXML.into());
        }
        let mut rules = root.all("Rule");
        let Some(rule) = rules.next() else { return Ok(Self { default: None }) };
        rule.only(&[], &["DefaultRetention"])?;
        let mut defaults = rule.all("DefaultRetention");
        let (Some(default), None, None) = (defaults.next(), defaults.next(), rules.next()) else {
            return Err(ErrorCode::MalformedXML.into());
        };
        default.only(&["Mode", "Days", "Years"], &[])?;
        let mode = LockMode::of(default)?;
        let number = |text: &str| {
            let number: i64 = text.trim_ascii().parse().map_err(|_| S3Error::from(ErrorCode::MalformedXML))?;
            let positive = u32::try_from(number).ok().filter(|number| *number > 0);
            positive.ok_or(S3Error::from(ErrorCode::InvalidRetentionPeriod))
        };
        let period = match (default.text("Days"), default.text("Years")) {
            (Some(days), None) => LockPeriod::Days(number(days)?),
            (None, Some(years)) => LockPeriod::Years(number(years)?),
            _ => return Err(ErrorCode::MalformedXML.into()),
        };
        Ok(Self { default: Some((mode, period)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(read: Result<T, S3Error>) -> Option<ErrorCode> {
        read.err().map(|error| error.code())
    }

    #[test]
    fn documents_are_read_as_they_are_written() {
        for status in [VersioningStatus::Enabled, VersioningStatus::Suspended] {
            let document = VersioningConfiguration { status: Some(status) };
            assert_eq!(VersioningConfiguration::of_client(document.to_xml().as_bytes()), Ok(document));
        }
        let at = Timestamp::from_unix_millis(1_900_000_000_123);
        for retention in [None, Some((LockMode::Governance, at)), Some((LockMode::Compliance, at))] {
            let document = RetentionDocument { retention };
            assert_eq!(RetentionDocument::of_client(document.to_xml().as_bytes()), Ok(document));
        }
        for hold in [LegalHold(true), LegalHold(false)] {
            assert_eq!(LegalHold::of_client(hold.to_xml().as_bytes()), Ok(hold));
        }
        let (days, years) = (LockPeriod::Days(1), LockPeriod::Years(100));
        for default in [None, Some((LockMode::Governance, days)), Some((LockMode::Compliance, years))] {
            let document = ObjectLockConfiguration { default };
            assert_eq!(ObjectLockConfiguration::of_client(document.to_xml().as_bytes()), Ok(document));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let versioning = |inner: &str| {
            let xml = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            code(VersioningConfiguration::of_client(xml.as_bytes()))
        };
        assert_eq!(versioning(""), Some(ErrorCode::IllegalVersioningConfigurationException));
        assert_eq!(versioning("<Status>On</Status>"), Some(ErrorCode::MalformedXML));
        let mfa = "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>";
        assert_eq!(versioning(mfa), Some(ErrorCode::NotImplemented));
        assert_eq!(versioning("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>"), None);

        let lock = |default: &str| {
            let rule = format!("<Rule><DefaultRetention>{default}</DefaultRetention></Rule>");
            let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
            let xml = format!("<ObjectLockConfiguration>{enabled}{rule}</ObjectLockConfiguration>");
            code(ObjectLockConfiguration::of_client(xml.as_bytes()))
        };
        assert_eq!(lock("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"), Some(ErrorCode::MalformedXML));
        assert_eq!(lock("<Mode>GOVERNANCE</Mode>"), Some(ErrorCode::MalformedXML));
        assert_eq!(lock("<Mode>governance</Mode><Days>1</Days>"), Some(ErrorCode::MalformedXML));
        for days in ["0", "-1", "4294967296"] {
            let default = format!("<Mode>GOVERNANCE</Mode><Days>{days}</Days>");
            assert_eq!(lock(&default), Some(ErrorCode::InvalidRetentionPeriod), "{days}");
        }
        let off = b"<ObjectLockConfiguration><ObjectLockEnabled>Off</ObjectLockEnabled></ObjectLockConfiguration>";
        assert_eq!(code(ObjectLockConfiguration::of_client(off)), Some(ErrorCode::MalformedXML));
        for xml in ["<Retention><Mode>GOVERNANCE</Mode></Retention>", "<Retain/>", "<Retention><Until/></Retention>"] {
            assert_eq!(code(RetentionDocument::of_client(xml.as_bytes())), Some(ErrorCode::MalformedXML), "{xml}");
        }
        assert_eq!(
            code(LegalHold::of_client(b"<LegalHold><Status>on</Status></LegalHold>")),
            Some(ErrorCode::MalformedXML)
        );
    }
}
