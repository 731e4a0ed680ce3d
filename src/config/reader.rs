//! Reading TOML so that every mistake is found in one pass, with its line, and no value of a file is echoed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong, without the value.
    pub message: String,
}

/// All mistakes of a file, by line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub path: PathBuf,
    /// The mistakes.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match error.line {
                0 => write!(f, "{}: {}", self.path.display(), error.message)?,
                line => write!(f, "{}:{line}: {}", self.path.display(), error.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The mistakes found so far, and where lines begin.
pub(super) struct Errors {
    line_starts: Vec<usize>,
    found: Vec<ConfigError>,
}

impl Errors {
    pub(super) fn new(text: &str) -> Self {
        let line_starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect();
        Self { line_starts, found: Vec::new() }
    }

    /// The line that an offset is in.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= offset)
    }

    pub(super) fn add(&mut self, line: usize, message: impl Into<String>) {
        let error = ConfigError { line, message: message.into() };
        if !self.found.contains(&error) {
            self.found.push(error);
        }
    }

    pub(super) fn into_found(mut self) -> Vec<ConfigError> {
        self.found.sort();
        self.found
    }
}

/// A value with its line.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// One table while it is read. Every key must be known; what was not read as known is a mistake.
pub(super) struct Table<'a, 'e> {
    entries: &'a DeTable<'a>,
    pub(super) line: usize,
    /// How messages call it: `[limits]`.
    name: &'static str,
    known: &'static [&'static str],
    pub(super) errors: &'e mut Errors,
}

impl<'a, 'e> Table<'a, 'e> {
    pub(super) fn new(
        table: &'a DeTable<'a>,
        line: usize,
        (name, known): (&'static str, &'static [&'static str]),
        errors: &'e mut Errors,
    ) -> Self {
        for (key, _) in table {
            let text: &str = key.get_ref();
            if !known.contains(&text) {
                let line = errors.line(key.span().start);
                let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
                let hint = nearest(text, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                errors.add(line, format!("unknown key `{shown}` in {name}{hint}"));
            }
        }
        Self { entries: table, line, name, known, errors }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.known.contains(&key), "{key} is not in the list of known keys");
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// The line of a key, or of the table.
    pub(super) fn line_of(&self, key: &'static str) -> usize {
        self.value(key).map_or(self.line, |value| self.errors.line(value.span().start))
    }

    /// Notes a mistake about a key.
    pub(super) fn wrong(&mut self, key: &'static str, what: impl fmt::Display) {
        let line = self.line_of(key);
        self.errors.add(line, format!("`{key}` in {}: {what}", self.name));
    }

    fn missing(&mut self, key: &'static str) {
        let (line, name) = (self.line, self.name);
        self.errors.add(line, format!("`{key}` is missing in {name}"));
    }

    /// A text, if it is there.
    pub(super) fn text(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        let line = self.errors.line(value.span().start);
        if let DeValue::String(text) = value.get_ref() {
            return Some(At { line, value: text.to_string() });
        }
        self.wrong(key, "a text in quotes is expected");
        None
    }

    /// A text that must be there.
    pub(super) fn required(&mut self, key: &'static str) -> Option<At<String>> {
        if !self.has(key) {
            self.missing(key);
        }
        self.text(key)
    }

    /// A text that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        let parsed = parse(&text.value);
        if parsed.is_none() {
            self.wrong(key, expected);
        }
        parsed.map(|value| At { line: text.line, value })
    }

    /// As [`Table::parsed`], for what must be there.
    pub(super) fn required_parsed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.missing(key);
        }
        self.parsed(key, expected, parse)
    }

    /// One of a list of names.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {} is expected", names.join(", "));
        self.parsed(key, &expected, |text| choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value))
            .map(|at| at.value)
    }

    /// A key that has one value today: others are refused by name.
    pub(super) fn only(&mut self, key: &'static str, value: &'static str) {
        self.choice(key, &[(value, ())]);
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.value(key).map(Spanned::get_ref) {
            None => default,
            Some(DeValue::Boolean(value)) => *value,
            Some(_) => {
                self.wrong(key, "true or false is expected");
                default
            }
        }
    }

    /// A number in a range.
    pub(super) fn number(&mut self, key: &'static str, (min, max): (u32, u32)) -> Option<u32> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let number = number.and_then(|number| u32::try_from(number).ok()).filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.wrong(key, format!("a number from {min} to {max} is expected"));
        }
        number
    }

    /// A size such as `"64 MiB"`, or a number of bytes.
    pub(super) fn size(&mut self, key: &'static str, default: u64, (min, max): (u64, u64)) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let size = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => parse_size(text),
            _ => None,
        };
        size.filter(|size| (min..=max).contains(size)).unwrap_or_else(|| {
            self.wrong(key, format!("a size from {min} to {max} bytes is expected, such as \"64 MiB\""));
            default
        })
    }

    /// A time such as `"30s"`.
    pub(super) fn time(&mut self, key: &'static str, default: Duration) -> Duration {
        let Some(value) = self.value(key) else { return default };
        let time = match value.get_ref() {
            DeValue::String(text) => parse_time(text),
            _ => None,
        };
        let most = Duration::from_hours(24);
        time.filter(|time| (Duration::from_millis(1)..=most).contains(time)).unwrap_or_else(|| {
            self.wrong(key, "a time from \"1ms\" to \"24h\" is expected, such as \"30s\"");
            default
        })
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<At<String>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, "a list of texts is expected");
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            let line = self.errors.line(item.span().start);
            match item.get_ref() {
                DeValue::String(text) => out.push(At { line, value: text.to_string() }),
                _ => self.wrong(key, "a list of texts is expected"),
            }
        }
        out
    }

    /// A table within.
    pub(super) fn table<'s>(
        &'s mut self,
        key: &'static str,
        named: (&'static str, &'static [&'static str]),
    ) -> Option<Table<'a, 's>> {
        let value = self.value(key)?;
        let line = self.errors.line(value.span().start);
        if let DeValue::Table(table) = value.get_ref() {
            return Some(Table::new(table, line, named, self.errors));
        }
        self.wrong(key, "a table is expected");
        None
    }

    /// The tables of a list of tables: `[[bucket]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<(usize, &'a DeTable<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(key, format!("a list of tables is expected: [[{key}]]"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => out.push((self.errors.line(item.span().start), table)),
                _ => self.wrong(key, format!("a list of tables is expected: [[{key}]]")),
            }
        }
        out
    }
}

/// The known key that a typing error is nearest to, if it is near.
fn nearest(text: &str, known: &[&'static str]) -> Option<&'static str> {
    let best = known.iter().map(|name| (distance(text, name), *name)).min()?;
    (best.0 <= 1 + text.len() / 4).then_some(best.1)
}

fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.chars().enumerate() {
            let (Some(left), Some(above)) = (row.get(j).copied(), row.get(j + 1).copied()) else { continue };
            let cost = (diagonal + usize::from(x != y)).min(left + 1).min(above + 1);
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = cost;
            }
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// `512`, `64KiB`, `64 MiB`, `1GiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `500ms`, `30s`, `5m`, `1h`, `7d`.
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number = number.parse::<u64>().ok()?;
    Some(match unit.trim() {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        for (text, size) in [("0", 0), ("512", 512), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Some(size));
        }
        for bad in ["", "MiB", "1MB", "-1", "1.5 MiB", "99999999999999999999", "18446744073709551615 GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        assert_eq!(parse_time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_time("2 h"), Some(Duration::from_hours(2)));
        for bad in ["", "s", "30", "1w", "-1s"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_not() {
        assert_eq!(nearest("adress", &["address", "region"]), Some("address"));
        assert_eq!(nearest("something", &["address", "region"]), None);
    }
}
