//! The output of a watch: a bar on a terminal, lines, or JSON objects.

use std::{
    cell::{Cell, RefCell},
    io::{self, IsTerminal as _},
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    document,
    failure::Failure,
    request::{Id, Request},
    selection::Selection,
    tally::State,
    terminal::{self, Reader},
    watch::{progress::Progress, text},
};

/// The number of requests up to which a terminal shows each one.
const FEW: usize = 10;
/// The bar, and the lines below it. Each fits into 80 columns, with up to 2,000 requests.
const BAR: &str = "{bar:30} {pos}/{len} {prefix}\n{msg}";

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
    /// True if a request may leave the selection and still exist.
    by_labels: bool,
    /// Standard output has the manifests of `create -o`.
    to_stderr: bool,
    is_terminal: bool,
    is_unread: Cell<bool>,
    bar: ProgressBar,
    /// The lines of requests that had succeeded before it is known how many requests there are.
    early: RefCell<Vec<String>>,
}

impl Show {
    /// Prints in this format. `to_stderr` leaves standard output to others.
    #[must_use]
    pub fn new(format: Option<Format>, selection: &Selection, to_stderr: bool) -> Self {
        let (all_namespaces, by_labels) = (selection.all_namespaces, selection.filter.selector.is_some());
        let is_terminal = if to_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        // Hidden where standard error is no terminal.
        let bar = bar(ProgressDrawTarget::stderr());
        Self {
            format,
            all_namespaces,
            by_labels,
            to_stderr,
            is_terminal,
            is_unread: Cell::new(false),
            bar,
            early: RefCell::default(),
        }
    }

    /// Shows a request that has ended.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn ended(&self, request: &Request, progress: &Progress) -> Result<(), Failure> {
        if self.format.is_some() {
            return self.line(&document::json(&text::ended_json(request))?);
        }
        let line = text::ended(request, self.all_namespaces, self.is_terminal);
        if !self.is_terminal || State::from(request) != State::Succeeded {
            return self.line(&line);
        }
        // On a terminal the bar counts what went well, unless there are few requests.
        match progress.tally().total() {
            total if total > FEW => Ok(()),
            _ if progress.is_complete() => self.line(&line),
            _ => {
                self.early.borrow_mut().push(line);
                Ok(())
            }
        }
    }

    /// Shows the requests that had succeeded before all were listed, if they are few.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn listed(&self, progress: &Progress) -> Result<(), Failure> {
        self.of_few(progress).iter().try_for_each(|line| self.line(line))
    }

    fn of_few(&self, progress: &Progress) -> Vec<String> {
        let early = self.early.take();
        if progress.tally().total() > FEW { Vec::new() } else { early }
    }

    /// Shows a request that was deleted before an outcome was seen.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn deleted(&self, id: &Id) -> Result<(), Failure> {
        self.line(&match self.format {
            Some(Format::Json) => document::json(&text::deleted_json(id, self.by_labels))?,
            None => text::deleted(id, self.all_namespaces, self.by_labels),
        })
    }

    /// Says what requests wait for, where no bar shows it.
    pub fn waits(&self, progress: &Progress) {
        if let Some(waiting) = text::waiting(progress).filter(|_| self.bar.is_hidden()) {
            self.remark(&waiting);
        }
    }

    /// Returns true if the reader of the lines has gone.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.is_unread.get()
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
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
        self.bar.set_prefix(text::pace(progress));
        self.bar.set_message(text::below_bar(progress));
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
            false => {
                let reader = terminal::print(&format!("{line}\n"))?;
                self.is_unread.set(self.is_unread.get() || reader == Reader::Gone);
                Ok(())
            }
        })
    }
}

/// Returns the bar.
fn bar(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), target);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests;
