use clap::error::ErrorKind;

use super::*;

/// Returns the commands that people see, each with its names below the program.
fn commands(parser: &clap::Command, names: &[String]) -> Vec<(Vec<String>, clap::Command)> {
    let below = parser.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let mut all = Vec::new();
    for command in below {
        let names = [names, &[command.get_name().to_owned()]].concat();
        all.extend(commands(command, &names));
        all.push((names, command.clone()));
    }
    all
}

/// Returns the words of an example as a shell splits them, up to a redirection.
fn words(example: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in example.split([')', '>']).next().unwrap_or_default().chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend(word.take()),
            character => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[test]
fn each_command_has_examples_that_can_be_parsed() {
    let mut parsed = 0;
    for (names, command) in commands(&Cli::command(), &[]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{names:?} has no examples"));
        let mut comment = "";
        for line in examples.replace(" \\\n", " ").lines() {
            let Some((_, example)) = line.split_once("kubectl cognito-reset ") else {
                // A preparation of the example is below its comment, too.
                comment = if line.is_empty() || line.starts_with("  # ") { line } else { comment };
                continue;
            };
            assert!(comment.starts_with("  # "), "{names:?}: a line above says what this does: {line}");
            let words = words(example);
            assert!(words.starts_with(&names), "{names:?}: {line}");
            let arguments = std::iter::once("kubectl cognito-reset".to_owned()).chain(words);
            let result = Cli::try_parse_from(arguments);
            assert!(result.is_ok(), "{line}: {}", result.err().map(|error| error.to_string()).unwrap_or_default());
            parsed += 1;
        }
    }
    assert!(parsed > 30, "{parsed}");
}

#[test]
fn examples_fit_a_terminal_of_80_columns() {
    for (names, command) in commands(&Cli::command(), &[]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.split_once("Examples:\n").map_or("", |(_, examples)| examples);
        // A line that is wrapped cannot be copied.
        let wide = examples.lines().find(|line| line.len() > 79 && !line.starts_with("  # "));
        assert_eq!(wide, None, "{names:?}");
    }
}

#[test]
fn help_and_version_are_those_of_the_plugin() {
    let shown = |arguments: &[&str]| {
        let error = Cli::try_parse_from([&["kubectl-cognito_reset"], arguments].concat()).expect_err("it is shown");
        (error.kind(), error.to_string())
    };
    let version = format!("kubectl cognito-reset {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(shown(&["--version"]), (ErrorKind::DisplayVersion, version));
    for arguments in [&["help", "create"][..], &["create", "--help"]] {
        let (kind, text) = shown(arguments);
        assert_eq!(kind, ErrorKind::DisplayHelp);
        assert!(text.contains("Usage: kubectl cognito-reset create ["), "{text}");
        assert!(text.contains("--color <WHEN>") && text.contains("--context <NAME>"), "{text}");
    }
    assert!(shown(&["help"]).1.contains("Exit codes:"));
    assert_eq!(shown(&["creat"]).0, ErrorKind::InvalidSubcommand);
}

#[test]
fn help_and_errors_are_coloured_as_asked() {
    for (words, wanted) in [
        (&["list"][..], ColorChoice::Auto),
        (&["--color", "never", "list"], ColorChoice::Never),
        (&["creat", "--color=always", "--odd"], ColorChoice::Always),
        (&["--color"], ColorChoice::Auto),
        (&["--color=red", "list"], ColorChoice::Auto),
        (&["list", "--", "--color=never"], ColorChoice::Auto),
    ] {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        assert_eq!(color(&words), wanted, "{words:?}");
    }
}
