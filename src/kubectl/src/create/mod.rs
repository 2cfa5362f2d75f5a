//! `create`: a request for each user of a list.

pub mod manifest;
pub mod plan;

use std::{
    collections::{HashMap, HashSet},
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};

use clap::{ArgGroup, Args, ValueEnum};
use cognito_reset_api::IfResetRequired;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    core::ApiResource,
};

use self::{
    manifest::{Manifest, Spec},
    plan::{Existing, Plan, Wanted},
};
use crate::{
    cluster::{Cluster, Target, duration},
    exit::Exit,
    failure::Failure,
    naming::Naming,
    request::Request,
    rules::FieldRule,
    users::{self, Form, Users},
};

/// The number of requests that are created at the same time. An interruption leaves each either
/// created or not.
const ABREAST: usize = 8;
/// The number of objects of one page of a list.
const PAGE: u32 = 500;
/// The name under which the fields of a created request are owned.
const FIELD_MANAGER: &str = "kubectl-cognito_reset";

/// The arguments of `create`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("list").required(true).args(["users", "from"]))]
#[command(after_help = "\
Examples:
  # Reset one user, and wait for the outcome
  kubectl cognito-reset create alice@example.com --pool eu-west-1_Example01 --ticket HELP-4711 --wait

  # Show what would be created for a list, and create nothing
  kubectl cognito-reset create --from users.csv --column email --pool eu-west-1_Example01 --ticket INC-7 --dry-run=server

  # Write the manifests for Git
  kubectl cognito-reset create --from users.txt --pool eu-west-1_Example01 --ticket INC-7 --dry-run=client -o yaml")]
pub struct Options {
    /// The users whose passwords are reset
    #[arg(value_name = "USER")]
    users: Vec<String>,
    /// A file with the users, one a line, or a CSV file with --column; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The column of a CSV file that has the user names; the first line names the columns
    #[arg(long, value_name = "NAME", requires = "from")]
    column: Option<String>,
    /// The character between the columns
    #[arg(long, value_name = "CHARACTER", requires = "column", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// The user pool
    #[arg(long, value_name = "ID")]
    pool: String,
    /// The ticket or incident. The same ticket, pool and user give the same request
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["name", "name_prefix"])]
    ticket: Option<String>,
    /// The name of the request, for one user
    #[arg(long, value_name = "NAME", conflicts_with = "name_prefix")]
    name: Option<String>,
    /// The text that takes the ticket's place in the names of the requests
    #[arg(long, value_name = "TEXT")]
    name_prefix: Option<String>,
    /// The reason, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// The person or system that asked for the reset, for the audit
    #[arg(long, value_name = "TEXT")]
    on_behalf_of: Option<String>,
    /// The moment after which nothing is sent: 2036-01-01T00:00:00Z, or a time from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = not_after)]
    not_after: Option<Timestamp>,
    /// Sends nothing to users who have to reset their password already
    #[arg(long)]
    skip_if_reset_required: bool,
    /// The time after its end at which a request is deleted, such as 7d; its record stays
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    ttl: Option<std::time::Duration>,
    /// Creates without asking
    #[arg(long, short)]
    yes: bool,
    /// Creates nothing: `client` only builds the manifests, `server` lets the API server check them
    #[arg(long, value_enum, value_name = "WHERE")]
    dry_run: Option<DryRun>,
    /// Prints the requests in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Yaml,
    Json,
    Name,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ if text == "\\t" || text == "tab" => Ok(b'\t'),
        _ => Err("one ASCII character, or tab".to_owned()),
    }
}

fn not_after(text: &str) -> Result<Timestamp, String> {
    let later = || duration(text).ok().and_then(|later| Timestamp::now().checked_add(later).ok());
    text.parse().ok().or_else(later).ok_or_else(|| "not a time such as 2036-01-01T00:00:00Z or 2h".to_owned())
}

/// Runs `create`.
///
/// # Errors
/// When the list cannot be used, or the cluster refuses something. Nothing was created then, except
/// for the requests that the message counts.
pub async fn run(options: Options, target: &Target) -> Result<Exit, Failure> {
    FieldRule::of("userPoolID")?.check(&options.pool).map_err(|error| Failure::usage(format!("--pool: {error}")))?;
    let users = options.read_users()?;
    for note in &users.notes {
        anstream::eprintln!("{note}");
    }
    let wanted = options.named(users)?;
    if options.dry_run == Some(DryRun::Client) {
        let namespace = target.local_namespace().await?;
        return options.print(&wanted, &namespace);
    }
    let cluster = Cluster::connect(target).await?;
    let existing = existing(&cluster, &options.pool, &wanted).await?;
    let plan = Plan::new(wanted, &options.pool, &existing)?;
    let creation = Creation { cluster: &cluster, options: &options };
    // The API server checks all rules of the CRD and the policies; they are the same for each user.
    let checked = if options.dry_run.is_some() { plan.new.as_slice() } else { plan.new.get(..1).unwrap_or_default() };
    creation.create(checked, true).await?;
    if options.dry_run.is_some() {
        anstream::eprintln!(
            "{} new, {} unchanged; nothing was created (--dry-run)",
            plan.new.len(),
            plan.unchanged.len()
        );
    } else {
        options.confirm(&plan)?;
        creation.create(&plan.new, false).await?;
        anstream::eprintln!("{} created, {} unchanged", plan.new.len(), plan.unchanged.len());
    }
    Ok(Exit::Succeeded)
}

/// Returns the requests of the namespace that have a wanted name.
async fn existing(cluster: &Cluster, pool: &str, wanted: &[Wanted]) -> Result<HashMap<String, Existing>, Failure> {
    let names: HashSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let what = format!("list requests in namespace {}", cluster.namespace);
    let mut params = ListParams::default().limit(PAGE).fields(&format!("spec.userPoolID={pool}"));
    let mut existing = HashMap::new();
    loop {
        let page = cluster.requests().list(&params).await.map_err(|error| Failure::of_api(&error, &what))?;
        for request in &page.items {
            if let Some(name) = request.metadata.name.as_deref().filter(|name| names.contains(name)) {
                existing.insert(name.to_owned(), Existing::from(request));
            }
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(existing);
        }
    }
}

/// The creation of requests in a cluster.
#[derive(Clone, Copy)]
struct Creation<'a> {
    cluster: &'a Cluster,
    options: &'a Options,
}

impl Creation<'_> {
    /// Creates requests, a few at a time, and prints them as `-o` says. One that somebody else
    /// created in the meantime is unchanged.
    async fn create(self, wanted: &[Wanted], dry_run: bool) -> Result<(), Failure> {
        let mut created = stream::iter(wanted.iter().map(|wanted| self.create_one(wanted, dry_run))).buffered(ABREAST);
        let mut done = 0;
        while let Some(result) = created.next().await {
            let object = result.map_err(|failure| Failure {
                message: format!("{failure}\n{done} of {} were created; the same command goes on", wanted.len()),
                ..failure
            })?;
            done += 1;
            if !dry_run || self.options.dry_run.is_some() {
                self.options.print_one(&object)?;
            }
        }
        Ok(())
    }

    async fn create_one(self, wanted: &Wanted, dry_run: bool) -> Result<serde_json::Value, Failure> {
        let Self { cluster, options } = self;
        let manifest = serde_json::to_value(options.manifest(wanted, &cluster.namespace));
        let object = manifest.and_then(serde_json::from_value::<DynamicObject>).map_err(|error| {
            Failure::usage(format!("the request {} cannot be written as JSON: {error}", wanted.name))
        })?;
        let requests: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &ApiResource::erase::<Request>(&()));
        let params = PostParams { dry_run, field_manager: Some(FIELD_MANAGER.into()) };
        let what = format!("create the request {} in namespace {}", wanted.name, cluster.namespace);
        let stored = match requests.create(&params, &object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let there = cluster.requests().get(&wanted.name).await;
                let there = Existing::from(&there.map_err(|error| Failure::of_api(&error, &what))?);
                Plan::new(vec![wanted.clone()], &options.pool, &HashMap::from([(wanted.name.clone(), there)]))?;
                object
            }
            stored => stored.map_err(|error| Failure::of_api(&error, &what))?,
        };
        serde_json::to_value(stored).map_err(|error| Failure::refused(format!("cannot {what}: {error}")))
    }
}

impl Options {
    fn read_users(&self) -> Result<Users, Failure> {
        let rule = FieldRule::of("username")?;
        let Some(file) = &self.from else { return users::of_arguments(&self.users, &rule) };
        let standard_input = file.as_os_str() == "-";
        let source = if standard_input { "standard input".to_owned() } else { file.display().to_string() };
        let unreadable = |error| Failure::usage(format!("{source} cannot be read: {error}"));
        let input: Box<dyn std::io::Read> = if standard_input {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(std::fs::File::open(file).map_err(unreadable)?)
        };
        let (mut bytes, most) = (Vec::new(), users::MOST_BYTES);
        input.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > most {
            return Err(Failure::usage(format!("{source} has more than {} MiB: it is no list of users", most >> 20)));
        }
        let column = self.column.as_deref().map(|name| Form::Column { name, delimiter: self.delimiter });
        users::parse(&bytes, column.unwrap_or(Form::Lines), &source, &rule)
    }

    fn named(&self, users: Users) -> Result<Vec<Wanted>, Failure> {
        if let Some(name) = &self.name {
            let [username] = users.names.as_slice() else {
                let count = users.names.len();
                return Err(Failure::usage(format!(
                    "--name names one request, and there are {count} users: use --ticket or --name-prefix"
                )));
            };
            return Ok(vec![Wanted { name: name.clone(), username: username.clone() }]);
        }
        // One of the two is there: the command line requires it.
        let naming = Naming::new(self.name_prefix.as_ref().or(self.ticket.as_ref()).map_or("", String::as_str))?;
        let wanted = |username: String| Wanted { name: naming.name(&self.pool, &username), username };
        Ok(users.names.into_iter().map(wanted).collect())
    }

    fn manifest(&self, wanted: &Wanted, namespace: &str) -> Manifest {
        let spec = Spec {
            user_pool_id: self.pool.clone(),
            username: wanted.username.clone(),
            ticket: self.ticket.clone(),
            reason: self.reason.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            if_reset_required: self.skip_if_reset_required.then_some(IfResetRequired::Skip),
            not_after: self.not_after.map(|time| time.to_string()),
            ttl_seconds_after_finished: self.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        };
        Manifest::new(&wanted.name, namespace, spec)
    }

    /// Prints the manifests of `--dry-run=client`.
    fn print(&self, wanted: &[Wanted], namespace: &str) -> Result<Exit, Failure> {
        for wanted in wanted {
            let manifest = self.manifest(wanted, namespace);
            match self.output {
                Some(_) => self.print_one(&manifest)?,
                None => anstream::println!("{} for {} (dry run)", wanted.name, wanted.username),
            }
        }
        Ok(Exit::Succeeded)
    }

    fn print_one(&self, object: &impl serde::Serialize) -> Result<(), Failure> {
        let unwritable =
            |error: &dyn std::error::Error| Failure::usage(format!("a request cannot be written: {error}"));
        match self.output {
            None => {}
            Some(Output::Yaml) => {
                let yaml = serde_saphyr::to_string(object).map_err(|error| unwritable(&error))?;
                anstream::println!("---\n{}", yaml.trim_end());
            }
            Some(Output::Json) => {
                anstream::println!("{}", serde_json::to_string(object).map_err(|error| unwritable(&error))?);
            }
            Some(Output::Name) => {
                let object = serde_json::to_value(object).map_err(|error| unwritable(&error))?;
                let name = object.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default();
                anstream::println!("passwordresetrequest.cognito-reset.dev/{name}");
            }
        }
        Ok(())
    }

    /// Asks before requests are created.
    fn confirm(&self, plan: &Plan) -> Result<(), Failure> {
        if self.yes || plan.new.is_empty() {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("there is no terminal to ask in: pass --yes; nothing was created"));
        }
        anstream::eprint!(
            "Create {} requests in pool {}? Enter goes on, anything else ends: ",
            plan.new.len(),
            self.pool
        );
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        match read {
            Ok(1..) if matches!(answer.trim(), "" | "y" | "yes") => Ok(()),
            _ => Err(Failure::refused("nothing was created")),
        }
    }
}
