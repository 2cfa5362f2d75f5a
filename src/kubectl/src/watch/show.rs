//! The output of a watch: a bar on a terminal, lines, or JSON objects.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    document,
    failure::Failure,
    request::{Id, Request},
    tally::State,
    terminal,
    watch::{progress::Progress, text},
};

/// The number of requests up to which a terminal shows each one.
const FEW: usize = 10;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Json,
}

/// The place where a watch prints.
#[derive(Debug)]
pub struct Show {
    format: Option<Format>,
    all_namespaces: bool,
    /// Standard output has the manifests of `create -o`.
    to_stderr: bool,
    is_terminal: bool,
    bar: ProgressBar,
}

impl Show {
    /// Prints in this format. `to_stderr` leaves standard output to others.
    #[must_use]
    pub fn new(format: Option<Format>, all_namespaces: bool, to_stderr: bool) -> Self {
        let is_terminal = if to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { format, all_namespaces, to_stderr, is_terminal, bar }
    }

    /// Shows a request that has ended.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn ended(&self, request: &Request, progress: &Progress) -> Result<(), Failure> {
        if self.format.is_some() {
            return self.line(&document::json(&text::ended_json(request))?);
        }
        // On a terminal the bar counts what went well.
        let is_told = State::from(request) != State::Succeeded || progress.tally().total() <= FEW;
        if self.is_terminal && !is_told {
            return Ok(());
        }
        self.line(&text::ended(request, self.all_namespaces, self.is_terminal))
    }

    /// Shows a request that was deleted before an outcome was seen.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn deleted(&self, id: &Id) -> Result<(), Failure> {
        self.line(&match self.format {
            Some(Format::Json) => document::json(&text::deleted_json(id))?,
            None => text::deleted(id, self.all_namespaces),
        })
    }

    /// Shows a remark for the user.
    pub fn remark(&self, remark: &str) {
        self.bar.suspend(|| terminal::say(remark));
    }

    /// Draws the bar, once it is known how many requests there are.
    pub fn draw(&self, progress: &Progress) {
        if !progress.is_complete() {
            return;
        }
        let tally = progress.tally();
        self.bar.update(|state| {
            state.set_len(tally.total() as u64);
            state.set_pos(tally.ended() as u64);
        });
        self.bar.set_message(text::beside_bar(progress));
    }

    /// Removes the bar, and shows the counts.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn end(&self, progress: &Progress) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.line(&match self.format {
            Some(Format::Json) => document::json(&text::tally_json(progress))?,
            None => text::tally(progress),
        })
    }

    fn line(&self, line: &str) -> Result<(), Failure> {
        self.bar.suspend(|| match self.to_stderr {
            true => {
                terminal::say(line);
                Ok(())
            }
            false => terminal::line(line),
        })
    }
}
