//! Writes logs through tracing, as JSON or for people.

mod json;
mod repeats;

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
};

use cognito_reset_core::escape::escaped;
use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt::{self, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub(crate) use self::repeats::Repeats;
use self::{json::FlatJson, repeats::LeaveOut};
use crate::cli::LogFormat;

/// The crates of this project that log.
const OURS: [&str; 2] = ["cognito_reset_operator", "cognito_reset_aws"];

/// An error about a log filter that cannot be used.
#[derive(Debug, Error)]
#[error("failed to start logging: {0}; give a level (error, warn, info, debug or trace), or directives")]
pub(crate) struct TelemetryError(String);

/// Starts logging to standard error. Returns the entries that are left out because they repeat, for
/// a task that reports them.
///
/// Regardless of the filter, other crates only log warnings and errors: at lower levels they log
/// requests and responses, which contain user names.
///
/// # Errors
/// Returns an error if the filter cannot be parsed.
pub(crate) fn start(format: LogFormat, filter: &str) -> Result<Arc<Repeats>, TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError(error.to_string()))?;
    let ansi = io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_ours_or_loud));
    let repeats = Arc::new(Repeats::default());
    let registry = registry.with(LeaveOut(Arc::clone(&repeats)));
    let layer = fmt::layer().with_ansi(ansi).with_target(false);
    let started = match format {
        LogFormat::Json => {
            let writer = || OneLine { to: io::stderr(), colours: false };
            registry.with(layer.with_writer(writer).fmt_fields(JsonFields::new()).event_format(FlatJson)).try_init()
        }
        LogFormat::Text => {
            let writer = move || OneLine { to: io::stderr(), colours: ansi };
            registry.with(layer.with_writer(writer)).try_init()
        }
    };
    started.map(|()| repeats).map_err(|error| TelemetryError(error.to_string()))
}

/// Returns true for entries of this project's crates, and for warnings and errors of others. The
/// Kubernetes client and the loading of credentials are excluded, because they also return every
/// error: it is logged by the caller, without the server's text or with a part of it.
fn is_ours_or_loud(metadata: &Metadata<'_>) -> bool {
    let of =
        |name: &str| metadata.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    OURS.into_iter().any(of) || (*metadata.level() <= Level::WARN && !of("kube_client") && !of("aws_config"))
}

/// Writes each entry as one line without hidden characters, regardless of the origin of its text.
/// An entry is written in one call.
struct OneLine<W> {
    to: W,
    /// True to keep the escapes with which the formatter sets colours; within values the formatter
    /// has replaced them.
    colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let shown = escaped(line, |character| self.colours && character == '\u{1b}');
        self.to.write_all(format!("{shown}\n").as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing::{Instrument, error_span, field::Empty};
    use tracing_subscriber::{
        EnvFilter,
        filter::filter_fn,
        fmt::{self, format::JsonFields},
        layer::SubscriberExt,
    };

    use super::{FlatJson, OneLine, is_ours_or_loud};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    const EVIL: &str = "a\nb\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\0\u{200b}\" {\"level\":\"ERROR\"}";

    #[test]
    fn log_entry_is_one_line_that_shows_every_character() {
        let (json, text) = (Kept::default(), Kept::default());
        let (to_json, to_text) = (json.clone(), text.clone());
        let say = || tracing::warn!(error = %EVIL, debug = ?EVIL, "{EVIL}");
        let as_json = fmt::layer().with_writer(move || OneLine { to: to_json.clone(), colours: false });
        let as_json = as_json.with_ansi(false).fmt_fields(JsonFields::new()).event_format(FlatJson);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(as_json), say);
        let as_text = fmt::layer().with_writer(move || OneLine { to: to_text.clone(), colours: false });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(as_text.with_ansi(false)), say);
        for (kept, written) in [("json", json.text()), ("text", text.text())] {
            assert_eq!(written.matches('\n').count(), 1, "{kept}: {written:?}");
            assert!(
                !written.trim_end_matches('\n').chars().any(cognito_reset_core::escape::is_hidden),
                "{kept}: {written:?}"
            );
        }
        let entry: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!(entry["error"], EVIL);
        assert_eq!(entry["level"], "WARN");
    }

    /// Reconciles an object, in the spans that the controllers have, below one of another crate.
    async fn reconcile() {
        let outer = tracing::info_span!(target: "kube_runtime::controller", "reconciling object", name = "foreign");
        let span =
            error_span!("reconcile", controller = "request", namespace = "default", name = "reset", attempt = Empty);
        let inner = async {
            tracing::info!("before");
            tracing::Span::current().record("attempt", "a1");
            let object = error_span!("object", namespace = None::<&str>, name = "other");
            async { tracing::warn!(name = "own", kind = "record", "within") }.instrument(object).await;
            tracing::info!("after");
        };
        async { inner.instrument(span).await }.instrument(outer).await;
    }

    #[test]
    fn json_entry_has_each_field_of_event_and_spans_once() {
        let of_request = r#""controller":"request","name":"reset","namespace":"default""#;
        let before = format!(r#""level":"INFO","message":"before",{of_request}}}"#);
        let within = r#""level":"WARN","message":"within","attempt":"a1","controller":"request","kind":"record","name":"own","namespace":"default"}"#;
        let after = format!(r#""level":"INFO","message":"after","attempt":"a1",{of_request}}}"#);
        for (filter, wanted) in [("info", vec![before.as_str(), within, &after]), ("warn", vec![within])] {
            let kept = Kept::default();
            let to = kept.clone();
            let layer = fmt::layer().with_writer(move || OneLine { to: to.clone(), colours: false });
            let layer = layer.with_ansi(false).fmt_fields(JsonFields::new()).event_format(FlatJson);
            let subscriber = tracing_subscriber::registry().with(EnvFilter::new(filter));
            let subscriber = subscriber.with(filter_fn(is_ours_or_loud)).with(layer);
            tracing::subscriber::with_default(subscriber, || futures::executor::block_on(reconcile()));
            let text = kept.text();
            let entries: Vec<_> = text.lines().filter_map(|line| line.split_once(',')).collect();
            assert!(entries.iter().all(|(time, _)| time.starts_with(r#"{"timestamp":"20"#)), "{text}");
            assert_eq!(entries.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), wanted, "{filter}");
        }
    }

    #[test]
    fn no_filter_lets_another_crate_speak_below_warnings() {
        let kept = Kept::default();
        let to = kept.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || OneLine { to: to.clone(), colours: false });
        let filter =
            EnvFilter::try_new("trace,hyper::proto=trace,kube_client=trace,aws_smithy_runtime::client=trace").unwrap();
        let subscriber = tracing_subscriber::registry().with(filter).with(filter_fn(is_ours_or_loud)).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "cognito_reset_operator::reset", "ours");
            tracing::debug!(target: "cognito_reset_aws::client", "of the project");
            tracing::trace!(target: "cognito_reset_operator_of_others", "quiet");
            tracing::info!(target: "hyper::proto", "quiet");
            tracing::debug!(target: "aws_smithy_runtime::client", "quiet");
            let _span = tracing::info_span!(target: "aws_sdk_sts", "span", body = "quiet").entered();
            tracing::warn!(target: "hyper::proto", "loud");
            tracing::error!(target: "kube_client::client", "quiet");
            tracing::warn!(target: "aws_config::sts::assume_role", "quiet");
        });
        let text = kept.text();
        let heard = ["ours", "of the project", "loud"];
        assert!(heard.iter().all(|word| text.contains(word)) && !text.contains("quiet"), "{text}");
    }
}
