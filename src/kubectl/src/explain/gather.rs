//! Reads a request, its record and its Events, as far as the user may.

use std::collections::BTreeSet;

use cognito_reset_api::{Action, PasswordResetRecord, RequestRef};
use cognito_reset_core::ledger::Identity;
use k8s_openapi::api::core::v1::Event;
use kube::Api;

use super::case::{Case, Happened, Seen};
use crate::{
    cluster::Cluster,
    failure::Failure,
    pages::{Pages, field},
    request::{Id, Request},
    selection,
    terminal::shown,
};

/// Returns the request of this name with all that may be read of it. A request that is gone is
/// explained from its records.
///
/// # Errors
/// When there is neither, or the API server does not respond.
pub(super) async fn one(cluster: &Cluster, name: &str) -> Result<Vec<Case>, Failure> {
    let problem = |problem: String| Failure::usage(format!("{} is {problem}", shown(name)));
    let name = &selection::name(name).map_err(problem)?;
    let id = Id { namespace: cluster.namespace.clone(), name: name.clone() };
    let what = format!("read the request {name} in namespace {}", cluster.namespace);
    match cluster.requests().get_opt(name).await.map_err(|error| Failure::of_api(&error, &what))? {
        Some(request) => Ok(vec![of_request(cluster, request).await?]),
        None => gone(cluster, &id).await,
    }
}

/// Explains a request object that does not exist, from the records of its name.
async fn gone(cluster: &Cluster, id: &Id) -> Result<Vec<Case>, Failure> {
    let is_named = |record: &PasswordResetRecord| record_id(record) == *id;
    let missing = format!("there is no request {} in namespace {}", id.name, id.namespace);
    let records = match records(cluster, &[], is_named).await? {
        Seen::Shown(records) if records.is_empty() => {
            return Err(Failure::refused(format!(
                "{missing}, and no record of one: check name and namespace with `kubectl cognito-reset list`"
            )));
        }
        Seen::Shown(records) => records,
        Seen::Hidden(why) => {
            return Err(Failure::refused(format!(
                "{missing}; if it was deleted, an auditor can explain it from its record ({why})"
            )));
        }
    };
    let mut cases = Vec::new();
    for record in records {
        let events = events(cluster, id).await?;
        cases.push(Case { id: id.clone(), request: None, is_gone: true, record: Seen::Shown(Some(record)), events });
    }
    Ok(cases)
}

async fn of_request(cluster: &Cluster, request: Request) -> Result<Case, Failure> {
    let id = request.id();
    let record = record(cluster, &request).await?;
    let events = events(cluster, &id).await?;
    Ok(Case { id, request: Some(request), is_gone: false, record, events })
}

/// Reads the record of a request, by the name that the ledger gives it.
async fn record(cluster: &Cluster, request: &Request) -> Result<Seen<Option<PasswordResetRecord>>, Failure> {
    let Id { namespace, name } = request.id();
    let identity = Identity {
        action: Action::PasswordReset,
        request: RequestRef { namespace, name },
        user_pool_id: request.spec.user_pool_id.clone(),
        username: request.spec.username.clone(),
    };
    match cluster.records().get_opt(&identity.record_name()).await {
        Ok(record) => Ok(Seen::Shown(record)),
        Err(error) => hidden(&error, "read records").map(Seen::Hidden),
    }
}

/// Reads the Events about the requests of a name.
async fn events(cluster: &Cluster, id: &Id) -> Result<Seen<Vec<Happened>>, Failure> {
    let selector = [field("involvedObject.kind", "PasswordResetRequest"), field("involvedObject.name", &id.name)];
    let events = Api::<Event>::namespaced(cluster.client.clone(), &id.namespace);
    match Pages::new(events, &selector, None).all(|_| true).await {
        Ok(events) => Ok(Seen::Shown(events.into_iter().filter_map(happened).collect())),
        Err(error) => hidden(&error, &format!("list Events in namespace {}", id.namespace)).map(Seen::Hidden),
    }
}

fn happened(event: Event) -> Option<Happened> {
    let series = event.series.as_ref();
    let seen_last = series.and_then(|series| series.last_observed_time.as_ref()).or(event.event_time.as_ref());
    let at = seen_last.map(|time| time.0);
    let at =
        at.or_else(|| event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref()).map(|it| it.0))?;
    Some(Happened {
        at,
        uid: event.involved_object.uid.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: series.and_then(|series| series.count).or(event.count).unwrap_or(1),
    })
}

/// Returns why something is hidden.
///
/// # Errors
/// When the error does not only hide it.
fn hidden(error: &kube::Error, what: &str) -> Result<String, Failure> {
    match error {
        kube::Error::Api(status) if status.code == 403 => Ok(format!("you may not {what}")),
        kube::Error::SerdeError(_) => Ok("this plugin cannot parse what the API server returned".to_owned()),
        error => Err(Failure::of_api(error, what)),
    }
}

/// Returns the request that a record names.
fn record_id(record: &PasswordResetRecord) -> Id {
    let RequestRef { namespace, name } = record.spec.request.clone();
    Id { namespace, name }
}

/// Lists the records that a field selector and a filter select, page by page.
async fn records(
    cluster: &Cluster,
    fields: &[String],
    wanted: impl Fn(&PasswordResetRecord) -> bool,
) -> Result<Seen<Vec<PasswordResetRecord>>, Failure> {
    match Pages::new(cluster.records(), fields, None).all(wanted).await {
        Ok(records) => Ok(Seen::Shown(records)),
        Err(error) => hidden(&error, "list records").map(Seen::Hidden),
    }
}

/// The requests and records of one user.
#[derive(Debug)]
pub(super) struct OfUser {
    /// The requests, newest first.
    pub(super) cases: Vec<Case>,
    /// Remarks about what is not among them.
    pub(super) remarks: Vec<String>,
}

/// Returns every request and record of a user: those that spell the user like this and, if records
/// may be listed, those of the same `sub`. If `only_local`, those of the command's namespace.
///
/// # Errors
/// When no requests may be listed, or the API server does not respond.
pub(super) async fn of_user(cluster: &Cluster, user: &str, pool: &str, only_local: bool) -> Result<OfUser, Failure> {
    let mut remarks = Vec::new();
    let requests = requests_of(cluster, user, pool, only_local, &mut remarks).await?;
    let (of_user, by_sub) = records_of(cluster, user, pool, &mut remarks).await?;
    let mut cases = Vec::new();
    let known: BTreeSet<Id> = requests.iter().map(Request::id).collect();
    cases.extend(requests.into_iter().map(|request| without_events(request, &of_user)));
    let of_user = match of_user {
        Seen::Shown(records) => records,
        Seen::Hidden(_) => Vec::new(),
    };
    for record in of_user.into_iter().chain(by_sub) {
        let id = record_id(&record);
        let is_listed = known.contains(&id) && record.spec.username == user;
        let is_elsewhere = only_local && id.namespace != cluster.namespace;
        if !is_listed && !is_elsewhere {
            cases.push(of_record(cluster, id, record).await?);
        }
    }
    Case::sort(&mut cases);
    Ok(OfUser { cases, remarks })
}

async fn requests_of(
    cluster: &Cluster,
    user: &str,
    pool: &str,
    only_local: bool,
    remarks: &mut Vec<String>,
) -> Result<Vec<Request>, Failure> {
    let fields = [field("spec.username", user), field("spec.userPoolID", pool)];
    let of = |api: Api<Request>| Pages::new(api, &fields, None).all(|_| true);
    let namespace = &cluster.namespace;
    let why = if only_local {
        "-n was given, and the other namespaces were not searched"
    } else {
        match of(cluster.all_requests()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => "you may not list those of all namespaces",
            all => return all.map_err(|error| Failure::of_api(&error, "list requests in all namespaces")),
        }
    };
    remarks.push(format!("only the requests of namespace {namespace} are shown: {why}"));
    let what = format!("list requests in namespace {namespace}");
    of(cluster.requests()).await.map_err(|error| Failure::of_api(&error, &what))
}

/// Returns the records of this spelling, if they may be listed, and those of the same `sub` under
/// another one.
async fn records_of(
    cluster: &Cluster,
    user: &str,
    pool: &str,
    remarks: &mut Vec<String>,
) -> Result<(Seen<Vec<PasswordResetRecord>>, Vec<PasswordResetRecord>), Failure> {
    let of_pool = field("userPoolID", pool);
    let of_user = match records(cluster, &[of_pool.clone(), field("username", user)], |_| true).await? {
        Seen::Shown(records) => records,
        Seen::Hidden(why) => {
            remarks.push(format!(
                "{why}; an auditor also sees the records, which outlive requests, with each call, and those of the same user under another name"
            ));
            return Ok((Seen::Hidden(why), Vec::new()));
        }
    };
    let subs: BTreeSet<&str> = of_user.iter().filter_map(|record| record.spec.user_sub.as_deref()).collect();
    let mut others = Vec::new();
    for sub in subs {
        let fields = [of_pool.clone(), field("userSub", sub)];
        if let Seen::Shown(records) = records(cluster, &fields, |record| record.spec.username != user).await? {
            others.extend(records);
        }
    }
    Ok((Seen::Shown(of_user), others))
}

/// Returns a request with its record among those that were listed.
fn without_events(request: Request, records: &Seen<Vec<PasswordResetRecord>>) -> Case {
    let id = request.id();
    let record = match records {
        Seen::Shown(records) => Seen::Shown(records.iter().find(|record| record_id(record) == id).cloned()),
        Seen::Hidden(why) => Seen::Hidden(why.clone()),
    };
    Case { id, request: Some(request), is_gone: false, record, events: Seen::Shown(Vec::new()) }
}

/// Returns a record with its request, if that exists and is of the same user.
async fn of_record(cluster: &Cluster, id: Id, record: PasswordResetRecord) -> Result<Case, Failure> {
    let requests: Api<Request> = Api::namespaced(cluster.client.clone(), &id.namespace);
    let of_this_user = |request: &Request| {
        let spec = &request.spec;
        [&spec.username, &spec.user_pool_id] == [&record.spec.username, &record.spec.user_pool_id]
    };
    let (request, is_gone) = match requests.get_opt(&id.name).await {
        Ok(request) => {
            let request = request.filter(of_this_user);
            let is_gone = request.is_none();
            (request, is_gone)
        }
        Err(error) => hidden(&error, &format!("read the request {id}")).map(|_| (None, false))?,
    };
    Ok(Case { id, request, is_gone, record: Seen::Shown(Some(record)), events: Seen::Shown(Vec::new()) })
}

#[cfg(test)]
mod tests;
