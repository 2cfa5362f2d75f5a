//! Chooses the text format of the metrics by the header Accept, and writes them in it.

use std::fmt;

use http::{HeaderMap, header};
use prometheus_client::{
    encoding::{prometheus_text, text},
    registry::Registry,
};

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4. A client that asks for nothing gets this one.
    Text,
}

impl Format {
    /// Returns the format that the client prefers, and the text format if it accepts none of them.
    ///
    /// The most specific range that matches a format decides its quality. Of two formats with the
    /// same quality the one with the more specific range is chosen, and then the text format.
    #[must_use]
    pub(crate) fn negotiate(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> = values.flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
        let preference = |format: Self| {
            let matching = ranges.iter().filter_map(|range| Some((range.specificity(format)?, range.quality)));
            matching.max().filter(|(_, quality)| *quality > 0).map(|(specificity, quality)| (quality, specificity))
        };
        if preference(Self::OpenMetrics) > preference(Self::Text) { Self::OpenMetrics } else { Self::Text }
    }

    /// Returns the type for the header Content-Type.
    #[must_use]
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }

    const fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::OpenMetrics => ("application", "openmetrics-text"),
            Self::Text => ("text", "plain"),
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::OpenMetrics => "1.0.0",
            Self::Text => "0.0.4",
        }
    }

    /// Returns all metrics in this format.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be written as text.
    pub(crate) fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut written = String::new();
        match self {
            Self::OpenMetrics => text::encode(&mut written, registry)?,
            Self::Text => prometheus_text::encode(&mut written, registry)?,
        }
        Ok(written)
    }
}

/// A range of media types that a client accepts.
#[derive(Debug)]
struct Range<'a> {
    type_: &'a str,
    subtype: &'a str,
    version: Option<&'a str>,
    /// The quality in thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// Parses a range, and returns `None` for one that is not valid. Parameters other than the
    /// version and the quality do not distinguish the formats.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (type_, subtype) = parts.next()?.split_once('/')?;
        let mut range = Self { type_: type_.trim(), subtype: subtype.trim(), version: None, quality: 1000 };
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("version") {
                range.version = Some(value);
            } else if name.eq_ignore_ascii_case("q") {
                range.quality = thousandths(value)?;
            }
        }
        Some(range)
    }

    /// Returns how specific the range is for a format, or `None` if it does not match.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (type_, subtype) = format.media_type();
        let is_named = self.type_.eq_ignore_ascii_case(type_);
        match self.version {
            Some(version) if version != format.version() => None,
            version if is_named && self.subtype.eq_ignore_ascii_case(subtype) => Some(2 + u8::from(version.is_some())),
            _ if is_named && self.subtype == "*" => Some(1),
            _ if self.type_ == "*" && self.subtype == "*" => Some(0),
            _ => None,
        }
    }
}

/// Parses a quality from 0 to 1 with at most three digits after the point, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = matches!(whole, "0" | "1") && fraction.len() <= 3 && fraction.bytes().all(|it| it.is_ascii_digit());
    let thousandths = is_valid.then(|| format!("{whole}{fraction:0<3}").parse().ok()).flatten()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests;
