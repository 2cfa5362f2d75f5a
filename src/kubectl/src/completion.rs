//! Completion: through kubectl itself with live names, and for shells that call the plugin by its
//! own name.
//!
//! kubectl runs `kubectl_complete-cognito_reset` from PATH with the words typed so far. It prints a
//! candidate a line, with a tab before its description, and a last line `:4`, by which kubectl
//! offers no files beside them.

pub mod live;

use std::{
    ffi::OsString,
    fs::Permissions,
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{
    aot::{self, generate},
    engine::complete,
};
use tempfile::NamedTempFile;

use crate::{PROGRAM, cli::Cli, exit::Exit, failure::Failure, terminal::line};

/// The name under which kubectl looks for the completion of this plugin.
pub const COMPLETER: &str = "kubectl_complete-cognito_reset";
/// The hidden command that completes.
pub const COMMAND: &str = "__complete";

/// The arguments of `completion`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Let kubectl complete `kubectl cognito-reset`, in every shell in which it completes itself
  kubectl cognito-reset completion kubectl --install

  # Complete `kubectl-cognito_reset` in bash
  source <(kubectl cognito-reset completion bash)")]
pub struct Options {
    /// The program that completes
    #[arg(value_enum, value_name = "FOR")]
    shell: Shell,
    /// Writes the program that kubectl runs beside this plugin, or into --dir
    #[arg(long)]
    install: bool,
    /// The folder of PATH to write it into
    #[arg(long, value_name = "FOLDER", requires = "install")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Kubectl,
    Bash,
    Zsh,
    Fish,
}

/// Returns the program that kubectl runs.
fn completer() -> String {
    format!("#!/bin/sh\n# Written by `kubectl cognito-reset completion kubectl`.\nexec {PROGRAM} {COMMAND} -- \"$@\"\n")
}

/// Runs `completion`.
///
/// # Errors
/// When the program cannot be written, or `--install` is used for a shell.
pub fn run(options: &Options) -> Result<Exit, Failure> {
    let shell = match options.shell {
        Shell::Kubectl if options.install => return install(options.dir.as_deref()),
        Shell::Kubectl => return print(completer().as_bytes()),
        _ if options.install => {
            return Err(Failure::usage(
                "--install is for `completion kubectl`; source the output of the others in your shell",
            ));
        }
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    print(&script)
}

fn install(folder: Option<&Path>) -> Result<Exit, Failure> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => folder_of_plugin(std::env::var_os("PATH").unwrap_or_default()).ok_or_else(|| {
            Failure::usage(format!("{PROGRAM} is in no folder of PATH: name a folder of PATH with --dir"))
        })?,
    };
    let file = folder.join(COMPLETER);
    write(&folder, &file).map_err(|error| {
        let file = file.display();
        Failure::usage(format!("{file} cannot be written ({error}): name a folder of PATH with --dir"))
    })?;
    line(&format!("{} written; kubectl completes `kubectl cognito-reset` now", file.display()))?;
    Ok(Exit::Succeeded)
}

/// Writes the program beside its place and renames it, so that a shell never runs half of it.
fn write(folder: &Path, file: &Path) -> std::io::Result<()> {
    let mut draft = NamedTempFile::with_prefix_in(format!(".{COMPLETER}-"), folder)?;
    draft.write_all(completer().as_bytes())?;
    draft.as_file().set_permissions(Permissions::from_mode(0o755))?;
    draft.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// Returns the first folder of PATH that has this plugin, as kubectl finds it.
fn folder_of_plugin(path: OsString) -> Option<PathBuf> {
    std::env::split_paths(&path).find(|folder| folder.join(PROGRAM).is_file())
}

/// Completes for kubectl. Where nothing can be completed, nothing is offered: an error in the
/// middle of a line would help nobody.
///
/// # Errors
/// When standard output cannot be written.
pub fn complete_for_kubectl(words: &[OsString]) -> Result<Exit, Failure> {
    let mut command = live::with_values(Cli::command(), words);
    let index = words.len();
    let arguments: Vec<OsString> = std::iter::once(PROGRAM.into()).chain(words.iter().cloned()).collect();
    let candidates = complete(&mut command, arguments, index, std::env::current_dir().ok().as_deref());
    let mut lines = Vec::new();
    for candidate in candidates.unwrap_or_default() {
        let value = candidate.get_value().to_string_lossy();
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.lines().next().unwrap_or_default();
        let tab = if help.is_empty() { "" } else { "\t" };
        lines.extend_from_slice(format!("{value}{tab}{help}\n").as_bytes());
    }
    lines.extend_from_slice(b":4\n");
    print(&lines)
}

fn print(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // The reader has closed the pipe, and wants no more.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Succeeded),
        Err(error) => Err(Failure::refused(format!("standard output cannot be written: {error}"))),
        Ok(()) => Ok(Exit::Succeeded),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_plugin_is_looked_for_in_the_folders_of_path() {
        let here = tempfile::tempdir().expect("a folder");
        let (without, with) = (here.path().join("a"), here.path().join("b"));
        for folder in [&without, &with] {
            fs::create_dir_all(folder).expect("a folder");
        }
        fs::write(with.join(PROGRAM), "").expect("a file");
        let path = std::env::join_paths([&without, &with]).expect("a PATH");
        let found = folder_of_plugin(path);
        let none = folder_of_plugin(without.clone().into());
        assert_eq!((found, none), (Some(with), None));
    }

    #[test]
    fn the_program_is_complete_and_can_be_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(COMPLETER);
        // What an older version wrote is replaced.
        fs::write(&file, "old").expect("a file");
        install(Some(folder.path())).expect("it is written");
        assert_eq!(fs::read_to_string(&file).expect("the file"), completer());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
        assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o755);
        let refused = install(Some(&folder.path().join("not-there"))).expect_err("there is no such folder");
        assert!(refused.message.contains("--dir"), "{refused}");
    }
}
