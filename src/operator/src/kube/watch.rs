//! The configuration of watches, and one stream of several.

use std::time::Duration;

use cognito_reset_core::watched_namespaces::Scope;
use futures::{
    Stream, StreamExt,
    stream::{BoxStream, select_all},
};
use kube::runtime::{
    WatchStreamExt,
    watcher::{self, Config, Event},
};

/// Returns the configuration of a watch that the API server ends after this time.
#[must_use]
pub(crate) fn config(timeout: Duration) -> Config {
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    Config::default().timeout(seconds)
}

/// Merges one watch for each scope into one stream, whose items name their scope. Each watch has
/// its own lists and its own back-off, so one that fails does not delay the others.
pub(crate) fn merged<K: Send + 'static, S>(
    scopes: Vec<Scope>,
    watch: impl Fn(Option<&str>) -> S,
) -> impl Stream<Item = (Scope, watcher::Result<Event<K>>)>
where
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let of_scope = |scope: Scope| -> BoxStream<'static, _> {
        let events = watch(scope.as_deref()).default_backoff();
        events.map(move |event| (scope.clone(), event)).boxed()
    };
    select_all(scopes.into_iter().map(of_scope).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    type Events = BoxStream<'static, watcher::Result<Event<&'static str>>>;

    #[tokio::test(start_paused = true)]
    async fn failing_watch_delays_no_other_and_is_retried() {
        let watch = |scope: Option<&str>| -> Events {
            let failed = || Err(watcher::Error::NoResourceVersion);
            match scope {
                Some("refused") => stream::repeat_with(failed).boxed(),
                Some("late") => {
                    stream::iter([failed(), Ok(Event::Init), Ok(Event::InitApply("b")), Ok(Event::InitDone)]).boxed()
                }
                _ => {
                    let listed = [Ok(Event::Init), Ok(Event::InitApply("a")), Ok(Event::InitDone)];
                    stream::iter(listed).chain(stream::pending()).boxed()
                }
            }
        };
        let scopes = ["refused", "late", "working"].map(|name| Some(name.into())).to_vec();
        let mut merged = std::pin::pin!(merged(scopes, watch));
        let (mut seen, mut failures) = (Vec::new(), 0);
        while failures < 5 || seen.len() < 6 {
            let (scope, event) = merged.next().await.unwrap();
            let scope = scope.unwrap().to_string();
            match event {
                Ok(event) => seen.push(format!("{scope} {event:?}")),
                Err(_) if scope == "late" => {
                    let earlier = seen.iter().filter(|event| event.starts_with("working")).count();
                    assert!(earlier <= 3, "{seen:?}");
                }
                Err(_) => {
                    assert_eq!(scope, "refused");
                    failures += 1;
                }
            }
        }
        let of = |scope: &str| seen.iter().filter_map(|event| event.strip_prefix(scope)).collect::<Vec<_>>();
        assert_eq!(of("working "), ["Init", "InitApply(\"a\")", "InitDone"]);
        assert_eq!(of("late "), ["Init", "InitApply(\"b\")", "InitDone"], "after its back-off");
    }

    #[tokio::test]
    async fn single_watch_of_the_cluster_has_no_scope() {
        let watch = |scope: Option<&str>| -> Events {
            assert_eq!(scope, None);
            stream::iter([Ok(Event::Init), Ok(Event::InitDone)]).boxed()
        };
        let all: Vec<_> = merged(vec![None], watch).collect().await;
        assert!(matches!(all.as_slice(), [(None, Ok(Event::Init)), (None, Ok(Event::InitDone))]));
    }
}
