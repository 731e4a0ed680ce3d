//! Pages of other origins: what a browser says of the page that asks, and what the store's CORS rules say to it.
//!
//! The store may only narrow what the configuration allows: a page that its word alone let in would read plaintext. Sources: the
//! Fetch Standard, "CORS protocol"; "Using cross-origin resource sharing" of the Amazon S3 User Guide.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::settings::OriginPattern;

/// What of an answer's verdict is passed on, besides the origin and `Access-Control-Allow-Credentials`.
const PASSED: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// What a request says of its page.
pub(super) struct Page {
    origin: HeaderValue,
    /// All that the store judges.
    pub(super) headers: HeaderMap,
}

impl Page {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next().cloned(), origins.next()) else { return None };
        let names = [header::ORIGIN, header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_REQUEST_HEADERS];
        let headers = names.into_iter().filter_map(|name| headers.get(&name).cloned().map(|value| (name, value)));
        let headers: HeaderMap = headers.collect();
        // what a store might read otherwise than it was signed is no browser's
        let is_plain = headers.values().all(|value| value.to_str().is_ok());
        is_plain.then_some(Self { origin, headers })
    }

    /// Whether a bucket's rule admits it, and by its name.
    pub(super) fn admitted(&self, origins: &[OriginPattern]) -> Option<Admitted> {
        let origin = self.origin.to_str().ok()?;
        let mut fits = origins.iter().filter(|pattern| pattern.matches(origin)).peekable();
        fits.peek()?;
        Some(if fits.all(OriginPattern::is_any) { Admitted::AsAny } else { Admitted::ByName })
    }

    /// What of an answer's headers the page may hear.
    pub(super) fn verdict(&self, admitted: Admitted, answer: &HeaderMap) -> HeaderMap {
        let mut out = HeaderMap::new();
        out.insert(header::VARY, HeaderValue::from_static("Origin"));
        let mut allowed = answer.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        let (Some(allowed), None) = (allowed.next(), allowed.next()) else { return out };
        if allowed != "*" && *allowed != self.origin {
            return out;
        }
        // by name even where the store says `*`: a cache must not show the answer to another page
        let shown = if allowed == "*" && admitted == Admitted::AsAny { allowed } else { &self.origin };
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, shown.clone());
        for name in PASSED {
            out.extend(answer.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        }
        let credentials = answer.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        if let Some(value) = credentials.filter(|_| admitted == Admitted::ByName && allowed != "*") {
            out.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, value.clone());
        }
        out
    }
}

/// Why a page is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// Its origin is listed.
    ByName,
    /// All are.
    AsAny,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origin: &'static str) -> Page {
        Page::of(&HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])).unwrap()
    }

    fn verdict(origin: &'static str, listed: &[&str], said: &[(&'static str, &'static str)]) -> Option<Vec<String>> {
        let listed: Vec<_> = listed.iter().map(|text| OriginPattern::parse(text).unwrap()).collect();
        let mut answer = HeaderMap::new();
        for (name, value) in said {
            answer.append(*name, HeaderValue::from_static(value));
        }
        let page = page(origin);
        let told = page.verdict(page.admitted(&listed)?, &answer);
        let mut told: Vec<_> =
            told.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        Some(told)
    }

    #[test]
    fn the_store_only_narrows_what_the_configuration_allows() {
        let app = "https://app.example";
        let origin = |value| ("access-control-allow-origin", value);
        let credentials = ("access-control-allow-credentials", "true");
        let network = ("access-control-allow-private-network", "true");
        let vary = "vary: Origin".to_owned();
        assert_eq!(verdict(app, &[], &[origin("*")]), None);
        assert_eq!(verdict("https://evil.example", &[app], &[origin("*")]), None);
        assert_eq!(verdict(app, &[app], &[]), Some(vec![vary.clone()]));
        assert_eq!(verdict(app, &[app], &[origin("https://evil.example"), credentials]), Some(vec![vary.clone()]));
        assert_eq!(
            verdict(app, &[app], &[origin(app), origin("*")]),
            Some(vec![vary.clone()]),
            "two verdicts are none"
        );
        let named = format!("access-control-allow-origin: {app}");
        let with = "access-control-allow-credentials: true".to_owned();
        assert_eq!(verdict(app, &[app], &[origin("*"), credentials]), Some(vec![named.clone(), vary.clone()]));
        assert_eq!(verdict(app, &["*"], &[origin(app), credentials]), Some(vec![named.clone(), vary.clone()]));
        let any = "access-control-allow-origin: *".to_owned();
        assert_eq!(verdict("null", &["*"], &[origin("*"), credentials, network]), Some(vec![any, vary.clone()]));
        assert_eq!(verdict(app, &["*", app], &[origin(app), credentials, network]), Some(vec![with, named, vary]));
    }

    #[test]
    fn a_page_has_one_origin() {
        let two =
            [(header::ORIGIN, HeaderValue::from_static("https://a")), (header::ORIGIN, "https://b".parse().unwrap())];
        let mut headers = HeaderMap::new();
        for (name, value) in two {
            headers.append(name, value);
        }
        assert!(Page::of(&headers).is_none() && Page::of(&HeaderMap::new()).is_none());
    }
}
