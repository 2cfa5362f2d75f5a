//! Leaves out log entries that repeat, and counts them. While AWS or the API server is down, each
//! pending request would write the same warning at each try.

use std::{
    collections::HashMap,
    fmt::{Debug, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
    warn,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// The time for which the same entry is not written again.
const PERIOD: Duration = Duration::from_secs(60);
/// The time between two reports.
const INTERVAL: Duration = Duration::from_secs(10);
/// The number of different texts of one place in the code that are written in a period. Texts of
/// others may differ each time, for example by an id.
const MOST_TEXTS: usize = 20;
/// The number of objects of one text that are written in a period, so that an operator sees whom it
/// concerns.
const MOST_OBJECTS: usize = 5;
/// The fields that name an object, in an event or in the spans around it.
const NAMES: [&str; 5] = ["record", "namespace", "name", "uid", "generation"];

/// The entries that were written in the last period.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    known: Mutex<HashMap<&'static str, Vec<Known>>>,
}

#[derive(Debug)]
struct Known {
    text: String,
    /// The objects for which it was written.
    objects: Vec<String>,
    first: Instant,
    repeated: u64,
}

/// The number of entries that were left out.
#[derive(Debug, PartialEq, Eq)]
struct Repeated {
    entry: String,
    times: u64,
}

impl Repeats {
    /// Returns true if an entry of this place has to be written, and counts it otherwise.
    fn is_new(&self, place: &'static str, text: &str, object: &str, now: Instant) -> bool {
        let mut known = self.known.lock();
        let of_place = known.entry(place).or_default();
        if let Some(known) = of_place.iter_mut().find(|known| known.text == text) {
            let is_new = known.objects.len() < MOST_OBJECTS && !known.objects.iter().any(|it| it == object);
            if is_new {
                known.objects.push(object.to_owned());
            } else {
                known.repeated += 1;
            }
            return is_new;
        }
        let is_new = of_place.len() < MOST_TEXTS;
        let others = || format!("other texts, {place}");
        let text = if is_new { text.to_owned() } else { others() };
        match of_place.iter_mut().find(|known| !is_new && known.text == text) {
            Some(known) => known.repeated += 1,
            None => {
                let repeated = u64::from(!is_new);
                of_place.push(Known { text, objects: vec![object.to_owned()], first: now, repeated });
            }
        }
        is_new
    }

    /// Forgets the entries whose period is over, and returns those that were repeated.
    fn over(&self, now: Instant) -> Vec<Repeated> {
        let mut repeated = Vec::new();
        self.known.lock().retain(|_, of_place| {
            of_place.retain(|known| {
                let is_over = now.saturating_duration_since(known.first) >= PERIOD;
                if is_over && known.repeated > 0 {
                    repeated.push(Repeated { entry: known.text.clone(), times: known.repeated });
                }
                !is_over
            });
            !of_place.is_empty()
        });
        repeated
    }

    /// Reports the entries that were left out, forever.
    pub(crate) async fn report(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            for Repeated { entry, times } in self.over(Instant::now()) {
                warn!(times, entry, "an entry like this was left out this many times in the last minute");
            }
        }
    }
}

/// The layer that asks whether an entry repeats.
pub(super) struct LeaveOut(pub(super) Arc<Repeats>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LeaveOut {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut names = Entry::default();
        attributes.record(&mut names);
        if let Some(span) = context.span(id).filter(|_| !names.object.is_empty()) {
            span.extensions_mut().insert(Object(names.object));
        }
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let mut entry = Entry::default();
        event.record(&mut entry);
        // An outcome is never left out; a failure of a request that goes on may be.
        let may_repeat = *metadata.level() == Level::WARN || (*metadata.level() == Level::INFO && entry.is_failure);
        if !may_repeat || entry.is_report {
            return true;
        }
        for span in context.lookup_current().into_iter().flat_map(|span| span.scope()) {
            if let Some(Object(names)) = span.extensions().get::<Object>() {
                entry.object.push_str(names);
            }
        }
        self.0.is_new(metadata.name(), &entry.text, &entry.object, Instant::now())
    }
}

/// The names that a span has of an object.
struct Object(String);

/// The message and fields of an entry, and the names of its object.
#[derive(Default)]
struct Entry {
    text: String,
    object: String,
    is_failure: bool,
    is_report: bool,
}

impl Visit for Entry {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.is_failure |= ["error", "cause"].contains(&field.name());
        self.is_report |= field.name() == "times";
        let into = if NAMES.contains(&field.name()) { &mut self.object } else { &mut self.text };
        let separator = if into.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(into, "{separator}{value:?}"),
            name => write!(into, "{separator}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::info;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Counts the entries that are written.
    struct Written(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn failures_are_written_once_and_outcomes_each_time() {
        let (repeats, written) = (Arc::new(Repeats::default()), Arc::new(AtomicUsize::new(0)));
        let layers = tracing_subscriber::registry().with(LeaveOut(Arc::clone(&repeats)));
        let subscriber = layers.with(Written(Arc::clone(&written)));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..10_000 {
                warn!(error = "not within 5s", "no credentials for a reset");
                warn!(record = number, error = "refused", "the API server rejected the write of a record");
                info!(error = "no response", "unable to read the user");
            }
            assert_eq!(written.swap(0, Ordering::SeqCst), 1 + MOST_OBJECTS + 1);
            (0..100).for_each(|_| info!(outcome = "Succeeded", "request finished"));
            assert_eq!(written.swap(0, Ordering::SeqCst), 100, "each outcome is an entry of its own");
            (0..10_000).for_each(|number| warn!(error = number, "a text that differs each time"));
            assert_eq!(written.load(Ordering::SeqCst), MOST_TEXTS);
        });
        let over = repeats.over(Instant::now() + PERIOD);
        let times: u64 = over.iter().map(|repeated| repeated.times).sum();
        assert_eq!(times, 3 * 10_000 - 7 + 10_000 - 20, "nothing is lost from the count");
        let others = over.iter().find(|it| it.entry.starts_with("other texts, event src/operator"));
        assert!(others.is_some_and(|it| it.times == 10_000 - 20), "{over:?}");
        let first = over.iter().find(|it| it.entry.starts_with("no credentials"));
        assert!(first.is_some_and(|it| it.times == 9_999 && it.entry.contains("not within 5s")), "{over:?}");
    }

    #[test]
    fn an_entry_is_written_for_each_object_of_a_few() {
        let (repeats, written) = (Arc::new(Repeats::default()), Arc::new(AtomicUsize::new(0)));
        let layers = tracing_subscriber::registry().with(LeaveOut(repeats)).with(Written(Arc::clone(&written)));
        tracing::subscriber::with_default(layers, || {
            for (name, total) in [("a", 1), ("a", 1), ("b", 2), ("a", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 5)] {
                let _span = tracing::error_span!("reconcile", name).entered();
                let _inner = tracing::error_span!("step").entered();
                warn!(error = "refused", "unable to write");
                assert_eq!(written.load(Ordering::SeqCst), total, "{name}");
            }
        });
    }

    #[test]
    fn an_entry_is_written_again_after_its_period() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        assert!(repeats.is_new("here", "a", "", start) && !repeats.is_new("here", "a", "", start));
        assert!(repeats.is_new("there", "a", "", start) && repeats.is_new("here", "b", "", start));
        assert_eq!(repeats.over(start + PERIOD / 2), vec![]);
        assert_eq!(repeats.over(start + PERIOD), vec![Repeated { entry: "a".into(), times: 1 }]);
        assert!(repeats.is_new("here", "a", "", start + PERIOD));
    }
}
