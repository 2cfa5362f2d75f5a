//! The arguments of `create`, and the list that they name.

use std::{io::Read as _, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};
use cognito_reset_api::RequestedBy;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{manifest::Manifest, plan::Wanted};
use crate::{
    cluster::duration,
    failure::Failure,
    naming::Naming,
    request::Spec,
    rules::FieldRule,
    users::{self, Form, Users},
};

/// The arguments of `create`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("list").required(true).args(["users", "from"]))]
#[command(after_help = "\
`kubectl cognito-reset --help` has the exit codes.

Examples:
  # Reset one user, and wait for the outcome
  kubectl cognito-reset create alice@example.com \\
      --pool eu-west-1_Example01 --ticket HELP-4711 --wait

  # Show what would be created for a list, and create nothing
  kubectl cognito-reset create --from users.csv --column email \\
      --pool eu-west-1_Example01 --ticket INC-7 --dry-run=server

  # Write the manifests for Git
  kubectl cognito-reset create --from users.txt \\
      --pool eu-west-1_Example01 --ticket INC-7 --dry-run=client -o yaml")]
pub struct Options {
    /// The users whose passwords are reset
    #[arg(value_name = "USER")]
    pub(super) users: Vec<String>,
    /// A file with the users, one a line, or a CSV file with --column; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    /// The column of a CSV file that has the user names; the first line names the columns
    #[arg(long, value_name = "NAME", requires = "from", conflicts_with = "users")]
    pub(super) column: Option<String>,
    /// The character between the columns
    #[arg(long, value_name = "CHARACTER", requires = "column", conflicts_with = "users")]
    #[arg(default_value = ",", value_parser = delimiter)]
    pub(super) delimiter: u8,
    /// The user pool
    #[arg(long, value_name = "ID")]
    pub(super) pool: String,
    /// The ticket or incident. The same ticket, pool and user give the same request
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["name", "name_prefix"])]
    pub(super) ticket: Option<String>,
    /// The name of the request, for one user
    #[arg(long, value_name = "NAME", conflicts_with = "name_prefix")]
    pub(super) name: Option<String>,
    /// The text that takes the ticket's place in the names of the requests
    #[arg(long, value_name = "TEXT")]
    pub(super) name_prefix: Option<String>,
    /// The reason, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// The person or system that asked for the reset, for the audit
    #[arg(long, value_name = "TEXT")]
    pub(super) on_behalf_of: Option<String>,
    /// The moment after which nothing is sent: 2036-01-01T00:00:00Z, or a time from now such as 2h
    #[arg(long, value_name = "TIME", value_parser = not_after)]
    pub(super) not_after: Option<Timestamp>,
    /// Sends nothing to users who have to reset their password already
    #[arg(long)]
    pub(super) skip_if_reset_required: bool,
    /// The time after its end at which a request is deleted, such as 7d; its record stays
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) ttl: Option<Duration>,
    /// Creates without asking
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Creates nothing: `client` only builds the manifests, `server` lets the API server check them
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(super) dry_run: Option<DryRun>,
    /// The e-mails or SMS that the pool may still send today, to compare the list with
    #[arg(long, value_name = "NUMBER")]
    pub(super) mail_quota: Option<u32>,
    /// Waits until each request has ended, as `watch` does
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    /// The time after which --wait ends with exit code 3, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    pub(super) timeout: Option<Duration>,
    /// Prints the requests that it creates in this format
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    pub(super) output: Option<Output>,
}

/// The place where a dry run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DryRun {
    /// This program.
    Client,
    /// The API server.
    Server,
}

/// The format of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// YAML documents.
    Yaml,
    /// One JSON object a line.
    Json,
    /// The names.
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

impl Options {
    /// Reads and checks the list.
    pub(super) fn read_users(&self) -> Result<Users, Failure> {
        let rule = FieldRule::of("username")?;
        let Some(file) = &self.from else { return users::of_arguments(&self.users, &rule) };
        let standard_input = file.as_os_str() == "-";
        if self.column.is_none() && file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            let file = file.display();
            return Err(Failure::usage(format!(
                "{file} is a CSV file: name the column that has the user names with --column"
            )));
        }
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

    /// Names the request of each user.
    pub(super) fn named(&self, users: Users) -> Result<Vec<Wanted>, Failure> {
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

    /// Returns the manifest of a request.
    pub(super) fn manifest(&self, wanted: &Wanted, namespace: &str, requested_by: Option<&RequestedBy>) -> Manifest {
        let (username, requested_by) = (wanted.username.clone(), requested_by.cloned());
        Manifest::new(&wanted.name, namespace, Spec { username, requested_by, ..self.spec() })
    }

    /// Returns the spec that the requests share.
    pub(super) fn spec(&self) -> Spec {
        Spec {
            user_pool_id: self.pool.clone(),
            ticket: self.ticket.clone(),
            reason: self.reason.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            if_reset_required: self.skip_if_reset_required.then(|| "Skip".to_owned()),
            not_after: self.not_after.map(Time),
            ttl_seconds_after_finished: self.ttl.map(|ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
            ..Spec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{cluster::Target, create, exit::Exit};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(arguments: &[&str]) -> Result<Options, clap::Error> {
        let always = ["create", "--pool", "eu-west-1_Example01", "--ticket", "INC-7"];
        Command::try_parse_from([&always, arguments].concat()).map(|command| command.options)
    }

    #[test]
    fn the_flags_of_a_file_need_one() {
        for (arguments, wanted) in [
            (&["alice"][..], true),
            (&["--from", "a.csv", "--column", "mail"], true),
            (&["--from", "a.csv", "--column", "mail", "--delimiter", ";"], true),
            (&["alice", "--column", "mail"], false),
            (&["alice", "--delimiter", ";"], false),
            (&["alice", "--column", "mail", "--delimiter", ";"], false),
            (&["alice", "--from", "a.csv"], false),
            (&["--column", "mail"], false),
        ] {
            assert_eq!(parsed(arguments).is_ok(), wanted, "{arguments:?}");
        }
        let error = parsed(&["alice", "--column", "mail"]).expect_err("no file").to_string();
        assert!(error.contains("cannot be used with") && error.contains("--column <NAME>"), "{error}");
    }

    #[tokio::test]
    async fn a_moment_that_has_passed_is_refused_without_a_cluster() {
        let target = Target { namespace: Some("support".to_owned()), ..Target::default() };
        let options = parsed(&["alice", "--dry-run=client", "--not-after", "2020-01-01T00:00:00Z"]).expect("options");
        let failure = create::run(options, &target).await.expect_err("it has passed");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("--not-after: 2020-01-01T00:00:00Z has passed"), "{failure}");
    }
}
