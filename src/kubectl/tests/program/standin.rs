//! A stand-in for the API server, or for a proxy before it, by which the program is run.
#![expect(clippy::expect_used, reason = "a test ends where its stand-in does")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

/// The response of an API server that has no requests.
pub(crate) const EMPTY: &str =
    r#"{"kind":"List","apiVersion":"cognito-reset.dev/v1alpha1","metadata":{"resourceVersion":"1"},"items":[]}"#;

/// A server on this machine. It responds until the test ends.
pub(crate) struct StandIn {
    /// The address with its port.
    pub(crate) address: String,
    received: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// Starts a server. `respond` gets number and head of a request, and returns status, header
    /// lines and body.
    pub(crate) fn start(respond: impl Fn(usize, &str) -> (u16, String, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, respond) = (Arc::clone(&received), Arc::new(respond));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                std::thread::spawn(move || serve(connection, &log, &*respond));
            }
        });
        Self { address, received }
    }

    /// Returns the heads of the requests, each with its lines.
    pub(crate) fn received(&self) -> Vec<String> {
        self.received.lock().expect("a test has failed").clone()
    }
}

fn serve(
    mut connection: TcpStream,
    log: &Mutex<Vec<String>>,
    respond: &(dyn Fn(usize, &str) -> (u16, String, String) + Sync),
) {
    let mut reader = BufReader::new(connection.try_clone().expect("a connection"));
    while let Some(head) = head(&mut reader) {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        reader.read_exact(&mut vec![0; length.unwrap_or(0)]).expect("a body");
        let number = {
            let mut log = log.lock().expect("a test has failed");
            log.push(head.clone());
            log.iter().filter(|it| !it.starts_with("CONNECT")).count()
        };
        let response = if head.starts_with("CONNECT") {
            "HTTP/1.1 200 OK\r\n\r\n".to_owned()
        } else {
            let (status, headers, body) = respond(number, &head);
            let (length, json) = (body.len(), "content-type: application/json");
            format!("HTTP/1.1 {status} x\r\n{json}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
        };
        if connection.write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}

fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => return Some(head),
            Ok(_) => head.push_str(&line.replace("\r\n", "\n")),
        }
    }
}

/// Returns a kubeconfig with these fields of cluster and user, in the flow style of YAML.
pub(crate) fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a, namespace: support}}}}]\n\
         clusters: [{{name: a, cluster: {{{cluster}}}}}]\nusers: [{{name: a, user: {{{user}}}}}]\n"
    )
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs the program with a kubeconfig and these variables.
pub(crate) fn run(directory: &Path, kubeconfig: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let file = directory.join("kubeconfig");
    std::fs::write(&file, kubeconfig).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-cognito_reset"));
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let output = command.args(arguments).env("KUBECONFIG", file).envs(variables.iter().copied());
    let output = output.stdin(Stdio::null()).output().expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
