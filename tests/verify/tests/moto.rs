//! The whole program against the emulator: from the question to the report, and its removal of
//! everything after a run that ends early.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use testbed::{Moto, Tools};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
};

const LIMIT: Duration = Duration::from_secs(180);
const REGION: &str = "eu-west-1";
const PROGRAM: &str = env!("CARGO_BIN_EXE_verify-aws");
const LONG: [&str; 4] = ["run", "--yes", "--allow-test-endpoints", "--watch=600"];

/// The rows that the emulator shows, and those that only the service can show.
const SHOWN: [&str; 10] = [
    "accepted",
    "accepted-again",
    "accepted-bounce",
    "no-user",
    "no-pool",
    "no-address",
    "disabled",
    "force-change-password",
    "unconfirmed",
    "no-connection",
];
const NOT_SHOWN: [&str; 10] = [
    "recovery-off",
    "trigger-forbidden",
    "trigger-throws",
    "trigger-nonsense",
    "trigger-late",
    "no-response",
    "sms-role",
    "no-permission",
    "unknown-key",
    "wrong-secret",
];

struct Account {
    moto: Moto,
}

impl Account {
    async fn start() -> Result<Self> {
        Ok(Self { moto: Moto::start(&Tools::locate().await?).await? })
    }

    fn program(&self, arguments: &[&str]) -> Command {
        self.command(PROGRAM, arguments)
    }

    /// Returns `make verify-aws`, as a user calls it.
    fn make(&self, watch: &str) -> Command {
        let settings = [format!("VERIFY_AWS={PROGRAM}"), format!("REPORT={}", self.report().display())];
        let mut command = self.command("make", &["verify-aws", "YES=1", "TEST_ENDPOINTS=1", watch]);
        command.args(settings).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).process_group(0);
        command
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.moto.directory()).env("AWS_ENDPOINT_URL", self.moto.url());
        command.envs([("AWS_REGION", REGION), ("AWS_ACCESS_KEY_ID", "AKIATEST"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        command
    }

    /// Runs the program to its end. Returns its status and all that it printed.
    async fn end_of(&self, arguments: &[&str]) -> Result<(ExitStatus, String)> {
        self.ended(self.program(arguments)).await
    }

    async fn ended(&self, mut command: Command) -> Result<(ExitStatus, String)> {
        let output = tokio::time::timeout(LIMIT, command.output()).await??;
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok((output.status, printed.concat()))
    }

    /// Starts a run, and waits until it prints a line. It reads users for longer than a test takes.
    async fn started(&self, mut command: Command, until: &str) -> Result<Run> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut run = String::new();
        while let Some(line) = tokio::time::timeout(LIMIT, lines.next_line()).await?? {
            if let Some(id) = line.strip_prefix("run:") {
                id.trim().clone_into(&mut run);
            }
            if line == until {
                return Ok(Run { child, lines: Some(lines), id: run });
            }
        }
        anyhow::bail!("the program ended before it printed '{until}'")
    }

    /// Returns the numbers of pools, roles and functions, without the code that is tested.
    async fn inventory(&self) -> Result<String> {
        let pools = self.moto.cognito().call(REGION, "ListUserPools", &json!({ "MaxResults": 60 })).await?;
        let pools = pools["UserPools"].as_array().context("no list of pools")?.len();
        let form = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 35";
        let roles = self.exchange("iam", "POST /", form, "Action=ListRoles&Version=2010-05-08").await?;
        ensure!(roles.contains("<Roles"), "no list of roles: {roles}");
        let functions = self.exchange("lambda", "GET /2015-03-31/functions/", "accept: */*", "").await?;
        ensure!(functions.contains("\"Functions\""), "no list of functions: {functions}");
        let [roles, functions] =
            [(roles, "<RoleName>"), (functions, "\"FunctionName\"")].map(|(list, it)| list.matches(it).count());
        Ok(format!("{pools} {roles} {functions}"))
    }

    /// Sends a request to another service of the emulator, which takes service and Region from the
    /// signature. Returns the response with its headers.
    async fn exchange(&self, service: &str, line: &str, header: &str, body: &str) -> Result<String> {
        let scope = format!("Credential=x/20260101/{REGION}/{service}/aws4_request");
        let signature = format!("authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let address = self.moto.url().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{line} HTTP/1.0\r\nhost: {address}\r\n{signature}\r\n{header}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut response)).await??;
        Ok(response)
    }

    fn report(&self) -> PathBuf {
        self.moto.directory().join("report")
    }
}

struct Run {
    child: Child,
    /// Kept, because a write to a pipe without a reader fails.
    lines: Option<Lines<BufReader<ChildStdout>>>,
    id: String,
}

impl Run {
    /// Sends a signal to the process, or to its group.
    fn signal(&self, signal: &str, group: bool) -> Result<()> {
        let pid = self.child.id().context("it has ended")?;
        let target = if group { format!("-{pid}") } else { pid.to_string() };
        let status = std::process::Command::new("kill").args([signal, "--", &target]).status()?;
        ensure!(status.success(), "failed to send {signal}");
        Ok(())
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        Ok(tokio::time::timeout(LIMIT, self.child.wait()).await??)
    }
}

fn rows<'a>(report: &'a Value, list: &str) -> Vec<&'a Value> {
    report[list].as_array().into_iter().flatten().collect()
}

fn names(rows: &[&Value]) -> Vec<String> {
    rows.iter().filter_map(|row| row["row"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_row_that_the_emulator_shows_agrees() -> Result<()> {
    let account = Account::start().await?;
    let folder = account.report();
    let (status, printed) = account.ended(account.make("WATCH=1")).await?;
    assert!(status.success(), "{printed}");
    // Costs, account and Region come before anything is made.
    let before = printed.split("\nmade ").next().unwrap_or_default();
    for said in
        ["123456789012 (of an emulator)", "Region:   eu-west-1", "18 monthly active users", "at most 14 of the 50"]
    {
        assert!(before.contains(said), "{said}: {printed}");
    }
    let json = std::fs::read_to_string(folder.join("report.json"))?;
    let report: Value = serde_json::from_str(&json)?;
    let (shown, not_shown) = (rows(&report, "shown"), rows(&report, "notShown"));
    assert_eq!(names(&shown), SHOWN);
    assert_eq!(names(&not_shown), NOT_SHOWN);
    assert!(shown.iter().all(|row| row["verdict"] == "agrees"), "{json}");
    assert!(not_shown.iter().all(|row| row["why"] == "the emulator does not show it"), "{json}");
    let accepted = &shown[0];
    assert_eq!((&accepted["happened"], &accepted["before"]), (&json!("the password was reset"), &json!("Confirmed")));
    for read in ["adminGetUser", "listUsers"] {
        assert!(accepted[read]["resetRequiredAfterMilliseconds"].is_u64(), "{accepted}");
    }
    let markdown = std::fs::read_to_string(folder.join("report.md"))?;
    let run = printed.lines().find_map(|line| line.strip_prefix("run:")).context("no run")?.trim();
    for (secret, text) in
        ["123456789012", run, "arn:", "eu-west-1_"].iter().flat_map(|it| [(it, &json), (it, &markdown)])
    {
        assert!(!text.contains(secret), "the report contains {secret}");
    }
    assert_eq!(rows(&report, "removed").len(), 9);
    assert_eq!(account.inventory().await?, "0 0 0");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_run_removes_what_it_made() -> Result<()> {
    let account = Account::start().await?;
    // Among roles and functions, among pools, and among the rows. As Ctrl-C at a terminal does, the
    // first signal also reaches make.
    for (signal, until) in
        [("-INT", "made function trigger"), ("-TERM", "made user pool admin-only"), ("-HUP", "tried accepted")]
    {
        let by_make = signal == "-INT";
        let command = if by_make { account.make("WATCH=600") } else { account.program(&LONG) };
        let mut run = account.started(command, until).await?;
        assert_ne!(account.inventory().await?, "0 0 0", "{until}");
        run.signal(signal, by_make)?;
        // The reader of a pipe is often interrupted together with the program.
        run.lines = run.lines.filter(|_| signal != "-TERM");
        let status = run.end().await?;
        assert!(if by_make { !status.success() } else { status.code() == Some(130) }, "{signal} {status}");
        assert_eq!(account.inventory().await?, "0 0 0", "{signal} after '{until}'");
        assert!(!account.report().exists());
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_run_is_removed_by_its_id_and_nothing_else() -> Result<()> {
    let account = Account::start().await?;
    let mut run = account.started(account.program(&LONG), "made user pool sms").await?;
    run.child.kill().await?;
    let clean = async |run: &str| account.end_of(&["clean", run, "--allow-test-endpoints"]).await;
    let (status, printed) = clean("01234567").await?;
    assert!(status.success() && printed.contains("found nothing to remove"), "{printed}");
    assert_eq!(account.inventory().await?, "5 3 1");
    let (status, printed) = clean(&run.id).await?;
    assert!(status.success() && printed.matches("\nremoved ").count() == 8, "{printed}");
    assert_eq!(account.inventory().await?, "0 0 0");

    // A pool with a name of the run and without its tag is somebody else's.
    let name = format!("cognito-reset-verify-{}-mail", run.id);
    account.moto.cognito().call(REGION, "CreateUserPool", &json!({ "PoolName": name })).await?;
    let (status, printed) = clean(&run.id).await?;
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("NOT REMOVED: user pool mail: it has no tag of this run"), "{printed}");
    assert_eq!(account.inventory().await?, "1 0 0");
    let (status, printed) = clean("everything").await?;
    assert!(!status.success() && printed.contains("RUN has to be the id"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_made_without_consent_or_at_another_server() -> Result<()> {
    let account = Account::start().await?;
    for (arguments, said) in [
        (&["run", "--allow-test-endpoints"][..], "set YES=1"),
        (&["run", "--yes"], "is not an https address of the service itself"),
    ] {
        let (status, printed) = account.end_of(arguments).await?;
        assert!(status.code() == Some(1) && printed.contains(said), "{printed}");
        assert_eq!(account.inventory().await?, "0 0 0");
    }
    // Without Lambda, neither a role nor a function is made or asked for.
    let folder = account.report();
    let folder = folder.to_str().context("a path that is not UTF-8")?;
    let arguments = ["run", "--yes", "--allow-test-endpoints", "--watch=0", "--without-lambda", "--report", folder];
    let (status, printed) = account.end_of(&arguments).await?;
    assert!(status.success() && printed.contains("AWS Lambda: none"), "{printed}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(Path::new(folder).join("report.json"))?)?;
    let without: Vec<_> = rows(&report, "notShown").into_iter().filter(|row| row["why"] == "WITHOUT_LAMBDA").collect();
    let wanted = ["trigger-throws", "trigger-nonsense", "trigger-late", "no-response", "sms-role", "no-permission"];
    assert_eq!(names(&without), wanted);
    assert!(printed.contains("made user pool mail"), "{printed}");
    assert!(!printed.contains("made role") && !printed.contains("made function"), "{printed}");
    Ok(())
}
