//! The JSON form of a log entry: one flat object.
//!
//! The formatter of tracing-subscriber nests the fields of a span and adds the span's own name to
//! them as `name`, beside the name of the object. Here the fields of all spans are in the object
//! itself. An inner span replaces a field of an outer one, and the event replaces both.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::{LookupSpan, Scope},
};

/// Formats an event as one flat JSON object: `timestamp`, `level` and `message`, and then all other
/// fields in alphabetical order.
pub(super) struct FlatJson;

#[derive(Serialize)]
struct Entry {
    timestamp: String,
    level: &'static str,
    message: Option<Value>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>() {
                fields.extend(parsed(&formatted.fields)?);
            }
        }
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        fields.extend(parsed(&own)?);
        let message = fields.remove("message");
        let entry = Entry { timestamp, level: event.metadata().level().as_str(), message, fields };
        writeln!(writer, "{}", serde_json::to_string(&entry).map_err(|_| fmt::Error)?)
    }
}

/// Parses fields that [`JsonFields`] has formatted. Without any field, their text is empty.
fn parsed(fields: &str) -> Result<Map<String, Value>, fmt::Error> {
    if fields.is_empty() { Ok(Map::new()) } else { serde_json::from_str(fields).map_err(|_| fmt::Error) }
}
