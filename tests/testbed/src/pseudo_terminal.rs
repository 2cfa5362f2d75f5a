//! A pseudo-terminal, in which a test runs a program as a person would.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::eventually;

/// A program in a pseudo-terminal of its own. It is killed when dropped.
#[derive(Debug)]
pub struct PseudoTerminal {
    child: Child,
    controller: File,
    output: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl PseudoTerminal {
    /// Starts a program in a terminal of this width, with nothing but these variables in its
    /// environment.
    ///
    /// # Errors
    /// When there is no pseudo-terminal, or the program cannot be started.
    pub fn start(program: &Path, arguments: &[&str], environment: &[(&str, &Path)], columns: u16) -> Result<Self> {
        let (controller, terminal) = pair(columns).context("there is no pseudo-terminal")?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .env("TERM", "xterm-256color")
            .stdin(Stdio::from(terminal.try_clone()?))
            .stdout(Stdio::from(terminal.try_clone()?))
            .stderr(Stdio::from(terminal))
            .spawn()
            .with_context(|| format!("failed to run {}", program.display()))?;
        let output = Arc::<Mutex<Vec<u8>>>::default();
        let (mut written, read) = (controller.try_clone()?, Arc::clone(&output));
        // It ends when the program has closed the terminal.
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = written.read(&mut part) {
                read.lock().unwrap_or_else(PoisonError::into_inner).extend(part.iter().take(length));
            }
        });
        Ok(Self { child, controller, output, reader })
    }

    /// Returns everything that was written to the terminal, without the sequences that move the
    /// cursor or set colors: a line ends where the cursor returned to its beginning.
    #[must_use]
    pub fn written(&self) -> String {
        let bytes = self.output.lock().unwrap_or_else(PoisonError::into_inner).clone();
        without_sequences(&String::from_utf8_lossy(&bytes)).replace('\r', "\n")
    }

    /// Returns the lines that are wider than the terminal was made.
    #[must_use]
    pub fn lines_beyond(&self, columns: usize) -> Vec<String> {
        let is_beyond = |line: &&str| line.chars().count() > columns;
        self.written().lines().filter(is_beyond).map(str::to_owned).collect()
    }

    /// Waits until this was written.
    ///
    /// # Errors
    /// When it was not within the limit, with everything that was.
    pub async fn shows(&self, text: &str, limit: Duration) -> Result<()> {
        eventually(limit, format!("the terminal to show {text:?}"), async || {
            let written = self.written();
            ensure!(written.contains(text), "{written}");
            anyhow::Ok(())
        })
        .await
    }

    /// Types something.
    ///
    /// # Errors
    /// When the terminal is closed.
    pub fn types(&mut self, text: &str) -> Result<()> {
        self.controller.write_all(text.as_bytes()).context("the terminal is closed")
    }

    /// Sends what Ctrl-C sends.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn interrupt(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process")?;
        kill_process(pid, Signal::INT).context("the program has ended")
    }

    /// Waits for the end of the program, and of its output.
    ///
    /// # Errors
    /// When it still runs after the limit, with everything that it wrote.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let Self { child, reader, .. } = self;
        let ended = eventually(limit, "the program to end", async || {
            let status = child.try_wait()?.context("it still runs")?;
            ensure!(reader.is_finished(), "its output is not read yet");
            anyhow::Ok(status)
        })
        .await;
        ended.with_context(|| self.written())
    }
}

impl Drop for PseudoTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens both ends of a pseudo-terminal.
fn pair(columns: u16) -> Result<(File, OwnedFd)> {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let name = ptsname(&controller, Vec::new())?;
    let terminal = File::options().read(true).write(true).open(name.to_str()?)?;
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((File::from(controller), OwnedFd::from(terminal)))
}

/// Returns a text without the control sequences of a terminal (ESC, `[`, parameters, a letter).
fn without_sequences(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| ('@'..='~').contains(&it));
        plain.push_str(end.and_then(|end| part.get(end + 1..)).unwrap_or_default());
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::environment::LIMIT;

    #[tokio::test]
    async fn a_program_sees_a_terminal_of_its_width() -> Result<()> {
        let script = "test -t 0 && test -t 2 && stty size; read -r line; printf '\\033[31m%s\\033[0m\\n' \"<$line>\"";
        let path = std::env::var_os("PATH").context("no PATH")?;
        let environment = [("PATH", Path::new(&path))];
        let mut terminal = PseudoTerminal::start(Path::new("/bin/sh"), &["-c", script], &environment, 80)?;
        terminal.shows("24 80", LIMIT).await?;
        terminal.types("typed\n")?;
        assert!(terminal.ended(LIMIT).await?.success());
        assert!(terminal.lines_beyond(5) == ["<typed>"] && !terminal.written().contains('\u{1b}'));
        Ok(())
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_program() -> Result<()> {
        // The tests may run in the background of a shell, where programs ignore an interrupt.
        let cat = ["--default-signal=INT", "/bin/sh", "-c", "echo runs; exec /bin/cat"];
        let mut terminal = PseudoTerminal::start(Path::new("/usr/bin/env"), &cat, &[], 80)?;
        terminal.shows("runs", LIMIT).await?;
        terminal.interrupt()?;
        assert!(!terminal.ended(LIMIT).await?.success());
        Ok(())
    }
}
