//! When a server says to come back.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The wait a reply asks for: `retry-after-ms`, `x-ms-retry-after-ms`, or `Retry-After` as seconds or as an HTTP date.
///
/// A date is measured against the reply's own `Date`, never against this machine's clock, which may be minutes off.
/// A date in the past is no wait; anything unreadable, or a date without a `Date` beside it, is no hint.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(wait) = text(headers, name).and_then(|value| value.parse().ok()) {
            return Some(Duration::from_millis(wait));
        }
    }
    let value = text(headers, RETRY_AFTER.as_str())?;
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(value)?.duration_since(server_time(headers)?);
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

/// The server's own time, from the `Date` header.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    text(headers, DATE.as_str()).and_then(http_date)
}

fn http_date(value: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value).ok()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    type Header = (&'static str, &'static str);

    #[test]
    fn every_form_of_the_header_is_read_and_nonsense_is_no_hint() {
        let date = ("date", "Tue, 24 Nov 2026 08:00:00 GMT");
        let table: &[(&str, &[Header], Option<u64>)] = &[
            ("seconds", &[("retry-after", "15")], Some(15_000)),
            ("zero", &[("retry-after", "0")], Some(0)),
            ("blanks around", &[("retry-after", " 7 ")], Some(7_000)),
            ("a date", &[("retry-after", "Tue, 24 Nov 2026 08:01:30 GMT"), date], Some(90_000)),
            ("a date in the past", &[("retry-after", "Tue, 24 Nov 2026 07:00:00 GMT"), date], Some(0)),
            ("a date without Date", &[("retry-after", "Tue, 24 Nov 2026 08:01:30 GMT")], None),
            ("milliseconds win", &[("retry-after", "15"), ("retry-after-ms", "250")], Some(250)),
            ("Microsoft's milliseconds", &[("x-ms-retry-after-ms", "1500")], Some(1_500)),
            ("words", &[("retry-after", "soon"), date], None),
            ("negative", &[("retry-after", "-3"), date], None),
            ("absent", &[], None),
        ];
        for (case, given, expected) in table {
            let headers: HeaderMap = given
                .iter()
                .map(|(name, value)| {
                    (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
                })
                .collect();
            assert_eq!(retry_after(&headers), expected.map(Duration::from_millis), "{case}");
        }
    }
}
