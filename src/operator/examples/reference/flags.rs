//! The page of the command line.

use clap::{Arg, Command, CommandFactory as _};
use cognito_reset_operator::Cli;

use crate::text::{GENERATED, code, wrapped};

/// Returns the page of all commands with their flags.
pub(crate) fn page() -> String {
    let cli = Cli::command();
    let mut page = format!("{GENERATED}# Flags and environment variables\n");
    paragraphs(&mut page, &about(&cli));
    page += "\nA flag takes precedence over its environment variable. `cognito-reset-operator run --help` prints\n\
             this page.\n";
    for command in cli.get_subcommands() {
        page += &format!("\n## `{}`\n", command.get_name());
        paragraphs(&mut page, &about(command));
        for flag in command.get_arguments().filter(|flag| flag.get_id() != "help") {
            section(&mut page, flag);
        }
    }
    page
}

fn section(page: &mut String, flag: &Arg) {
    let name = flag.get_long().unwrap_or_default();
    let value = flag.get_value_names().unwrap_or_default().first().map(|value| format!("={value}"));
    *page += &format!("\n### `--{name}`\n\n");
    let mut facts = format!("Usage: {}.", code(&format!("--{name}{}", value.unwrap_or_default())));
    if let Some(variable) = flag.get_env() {
        facts += &format!(" Environment variable: {}.", code(&variable.to_string_lossy()));
    }
    let defaults = flag.get_default_values().iter().map(|value| code(&value.to_string_lossy()));
    let defaults: Vec<_> = defaults.collect();
    facts +=
        &if defaults.is_empty() { " No default.".to_owned() } else { format!(" Default: {}.", defaults.join(", ")) };
    *page += &wrapped("", &facts);
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
    paragraphs(page, &sentence(&help));
    let values = flag.get_possible_values();
    for (index, value) in values.iter().filter(|value| !["true", "false"].contains(&value.get_name())).enumerate() {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        *page += if index == 0 { "\n" } else { "" };
        *page += &wrapped("- ", &format!("{}: {}", code(value.get_name()), help));
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    sentence(&about.map(ToString::to_string).unwrap_or_default())
}

/// Returns a text with a full stop at its end, which clap takes away from one paragraph.
fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

fn paragraphs(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        *page += &format!("\n{}", wrapped("", paragraph));
    }
}
