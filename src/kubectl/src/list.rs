//! `list`: requests as a table, printed as the pages arrive.

use clap::{Args, ValueEnum};
use cognito_reset_api::{Outcome, Password};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    cluster::{Cluster, Target},
    document,
    exit::Exit,
    failure::Failure,
    pages::field,
    request::Request,
    selection::{Listed, Selection},
    style::Tone,
    terminal::{Columns, Reader, age, print, remark, shown},
};

const HEADER: [&str; 8] = ["NAME", "USER", "POOL", "OUTCOME", "REASON", "PASSWORD", "REQUESTER", "AGE"];
/// The column of the outcome.
const OUTCOME: usize = 3;
const WIDE: [&str; 3] = ["TICKET", "AWS-REQUEST", "MESSAGE"];

/// The arguments of `list`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Show the requests of the namespace
  kubectl cognito-reset list

  # Show the requests of a ticket in all namespaces that have failed, with their messages
  kubectl cognito-reset list -A --ticket INC-7 --outcome Failed -o wide

  # Print the names of the pending requests of a pool
  kubectl cognito-reset list --pool eu-west-1_Example01 \\
      --outcome Pending -o name")]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Requests with this outcome
    #[arg(long, value_enum, ignore_case = true, value_name = "OUTCOME")]
    outcome: Option<Wanted>,
    /// Prints the requests in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Wanted {
    Pending,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
    Name,
    Wide,
}

impl Wanted {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Pending => Outcome::Pending,
            Self::Succeeded => Outcome::Succeeded,
            Self::Failed => Outcome::Failed,
            Self::Unknown => Outcome::Unknown,
        }
    }
}

/// Runs `list`.
///
/// # Errors
/// When the cluster refuses, or the output cannot be written.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(target).await?;
    let outcome = options.outcome.map(|wanted| field("status.outcome", wanted.outcome().as_str()));
    let mut pages = options.selection.pages(&cluster, outcome);
    let mut printed = Printed::new(options.output, options.selection.all_namespaces);
    while let Some(page) = pages.next().await? {
        if print(&printed.page(&page, Timestamp::now()))? == Reader::Gone {
            return Ok(Exit::Succeeded);
        }
    }
    print(&printed.end())?;
    if printed.count == 0 {
        remark!("{}", nothing(&options.selection.described(&cluster), options.outcome));
    }
    Ok(Exit::Succeeded)
}

/// Returns the sentence about a selection without requests.
fn nothing(selected: &str, outcome: Option<Wanted>) -> String {
    let outcome = outcome.map_or_else(String::new, |wanted| format!(", outcome {}", wanted.outcome().as_str()));
    format!("no requests {selected}{outcome}")
}

/// A list that is printed page by page.
struct Printed {
    output: Option<Output>,
    namespaces: bool,
    columns: Columns,
    count: usize,
}

impl Printed {
    fn new(output: Option<Output>, namespaces: bool) -> Self {
        let mut header = if namespaces { vec!["NAMESPACE"] } else { Vec::new() };
        header.extend(HEADER);
        if output == Some(Output::Wide) {
            header.extend(WIDE);
        }
        Self { output, namespaces, columns: Columns::new(&header), count: 0 }
    }

    fn page(&mut self, page: &[Listed], now: Timestamp) -> String {
        let text = match self.output {
            Some(Output::Json) => self.json(page),
            Some(Output::Name) => page.iter().map(name).collect(),
            None | Some(Output::Wide) if page.is_empty() => String::new(),
            None | Some(Output::Wide) => {
                let rows = page.iter().map(|listed| self.row(listed, now)).collect();
                let outcome = usize::from(self.namespaces) + OUTCOME;
                self.columns.lines_with_tones(rows, outcome, Tone::of_outcome) + "\n"
            }
        };
        self.count += page.len();
        text
    }

    fn row(&self, listed: &Listed, now: Timestamp) -> Vec<String> {
        let text = |text: Option<String>| shown(&text.unwrap_or_default()).into_owned();
        let mut row = if self.namespaces { vec![text(listed.object.namespace())] } else { Vec::new() };
        row.push(text(Some(listed.object.name_any())));
        match &listed.request {
            Some(request) => row.extend(cells(request, self.output == Some(Output::Wide), now)),
            None => row.push("(this plugin cannot parse the request)".to_owned()),
        }
        row
    }

    /// Returns a part of a list of kubectl: its beginning comes with the first page.
    fn json(&self, page: &[Listed]) -> String {
        let begin = if self.count == 0 { "" } else { "," };
        let items: Vec<String> =
            page.iter().map(|listed| format!("\n{}", document::visible(&json!(listed.object).to_string()))).collect();
        if items.is_empty() { String::new() } else { format!("{}{begin}{}", self.json_head(), items.join(",")) }
    }

    const fn json_head(&self) -> &'static str {
        if self.count == 0 { r#"{"apiVersion":"v1","kind":"List","items":["# } else { "" }
    }

    fn end(&self) -> String {
        match self.output {
            Some(Output::Json) => format!("{}\n]}}\n", self.json_head()),
            None | Some(Output::Name | Output::Wide) => String::new(),
        }
    }
}

fn name(listed: &Listed) -> String {
    format!("passwordresetrequest.cognito-reset.dev/{}\n", listed.object.name_any())
}

fn cells(request: &Request, is_wide: bool, now: Timestamp) -> Vec<String> {
    let Request { spec, status, metadata } = request;
    let created = metadata.creation_timestamp.as_ref().map(|time| age(time.0, now));
    let requester = spec.requested_by.as_ref().map_or("", |person| &person.username);
    let [user, pool] = [&spec.username, &spec.user_pool_id];
    let mut cells = [user, pool, status.outcome.as_str(), request.reason(), password(status.password), requester]
        .map(|cell| shown(cell).into_owned())
        .to_vec();
    cells.push(created.unwrap_or_default());
    if is_wide {
        let text = |text: &Option<String>| text.as_deref().map(shown).unwrap_or_default().into_owned();
        cells.extend([text(&spec.ticket), text(&status.aws_request_id), shown(request.message()).into_owned()]);
    }
    cells
}

/// Returns the state of a password as it is written in a status.
#[must_use]
pub const fn password(password: Password) -> &'static str {
    match password {
        Password::Unknown => "Unknown",
        Password::Invalidated => "Invalidated",
        Password::Unchanged => "Unchanged",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value};

    use super::*;
    use crate::{snapshot::snapshot, style::plain};

    fn listed(name: &str, user: &str, status: &Value) -> Listed {
        let object = json!({
            "metadata": { "name": name, "namespace": "support", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "userPoolID": "eu-west-1_Example01", "username": user, "requestedBy": { "username": "carol" } },
            "status": status,
        });
        Listed::from(from_value::<kube::api::DynamicObject>(object).expect("an object"))
    }

    fn reset() -> Value {
        let ready = json!({ "type": "Ready", "status": "True", "reason": "ResetAccepted", "message": "accepted",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        json!({ "outcome": "Succeeded", "password": "Invalidated", "conditions": [ready] })
    }

    fn now() -> Timestamp {
        "2026-01-01T00:03:00Z".parse().expect("a time")
    }

    #[test]
    fn requests_of_every_state_look_like_their_snapshots() {
        let named = |(number, (_, mut object)): (usize, (String, Value))| {
            object["metadata"] = json!({"name": format!("inc-7-{number}"), "namespace": "support",
                "creationTimestamp": "2026-01-01T00:00:00Z"});
            Listed::from(from_value::<kube::api::DynamicObject>(object).expect("an object"))
        };
        let all: Vec<_> = crate::reasons::tests::states().into_iter().enumerate().map(named).collect();
        for (file, output, namespaces) in
            [("table.txt", None, false), ("all-namespaces.txt", None, true), ("wide.txt", Some(Output::Wide), false)]
        {
            snapshot(&format!("list/{file}"), &plain(&Printed::new(output, namespaces).page(&all, now())));
        }
    }

    #[test]
    fn an_empty_list_names_what_was_asked_for() {
        for (outcome, wanted) in [(None, ""), (Some(Wanted::Unknown), ", outcome Unknown")] {
            let sentence = nothing("in all namespaces, pool p_1", outcome);
            assert_eq!(sentence, format!("no requests in all namespaces, pool p_1{wanted}"));
        }
    }

    #[test]
    fn pages_are_one_table() {
        let mut printed = Printed::new(None, false);
        let mut page = |page: &[Listed]| plain(&printed.page(page, now()));
        let first = page(&[listed("reset-alice", "alice", &reset())]);
        let second = page(&[listed("b", "b\u{1b}[2J", &json!({})), listed("c", "c", &json!({"outcome": "New"}))]);
        let wanted = "\
NAME          USER    POOL                  OUTCOME     REASON          PASSWORD      REQUESTER   AGE
reset-alice   alice   eu-west-1_Example01   Succeeded   ResetAccepted   Invalidated   carol       3m
b             b\\u001b[2J   eu-west-1_Example01   Pending                     Unknown       carol       3m
c             (this plugin cannot parse the request)\n";
        let squeezed = |text: &str| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(first, wanted.lines().take(2).map(|line| format!("{line}\n")).collect::<String>());
        assert_eq!(squeezed(&(first + &second)), squeezed(wanted));
    }

    #[test]
    fn json_of_any_number_of_pages_is_one_list() {
        let one = || listed("a", "alice", &reset());
        for (pages, count) in [(vec![], 0), (vec![vec![]], 0), (vec![vec![one(), one()], vec![], vec![one()]], 3)] {
            let mut printed = Printed::new(Some(Output::Json), true);
            let text: String = pages.iter().map(|page| printed.page(page, now())).collect();
            let list: Value = serde_json::from_str(&(text + &printed.end())).expect("JSON");
            assert_eq!(list["items"].as_array().map(Vec::len), Some(count));
            assert_eq!(list["kind"], "List");
        }
    }

    #[test]
    fn a_wide_list_has_ticket_and_message() {
        let mut printed = Printed::new(Some(Output::Wide), true);
        let text = printed.page(&[listed("a", "alice", &reset())], now());
        assert!(text.starts_with("NAMESPACE   NAME") && text.trim_end().ends_with("accepted"), "{text}");
        let mut printed = Printed::new(Some(Output::Name), true);
        let text = printed.page(&[listed("a", "alice", &reset())], now());
        assert_eq!(text, "passwordresetrequest.cognito-reset.dev/a\n");
    }
}
