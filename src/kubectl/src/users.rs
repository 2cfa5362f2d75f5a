//! Reads a list of users: one user name a line, or one column of a CSV file.

use std::collections::{HashMap, hash_map::Entry};

use crate::{failure::Failure, rules::FieldRule, terminal::counted};

/// The greatest number of users of one command.
///
/// Each is an object of its own, which every watch and every list of the namespace carries.
pub const MOST_USERS: usize = 2_000;
/// The greatest number of bad lines that are shown.
const SHOWN: usize = 10;
/// The greatest size of a list, in bytes: many times what the greatest number of users needs.
pub const MOST_BYTES: usize = 16 << 20;

/// The source of a list that is given by arguments.
const ARGUMENTS: &str = "argument";

/// A list of users without repetitions, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// The user names.
    pub names: Vec<String>,
    /// Remarks about the list, for the user.
    pub notes: Vec<String>,
}

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// One user name a line.
    Lines,
    /// One column of a CSV file with a header.
    Column {
        /// The name of the column.
        name: &'a str,
        /// The character between fields.
        delimiter: u8,
    },
}

/// Parses a list. `source` names it in errors, such as `users.csv` or `standard input`.
///
/// # Errors
/// When it cannot be read, a line of a CSV file has other fields than the header or a user name
/// breaks a rule of the CRD (each such line is named), or there are none or too many users.
pub fn parse(bytes: &[u8], form: Form<'_>, source: &str, rule: &FieldRule) -> Result<Users, Failure> {
    let text = text(bytes, source)?;
    let lines = match form {
        Form::Lines => lines(text, source)?,
        Form::Column { name, delimiter } => column(text, name, delimiter, source)?,
    };
    checked(lines, source, rule)
}

/// Checks user names that were given as arguments.
///
/// # Errors
/// As for [`parse`].
pub fn of_arguments(names: &[String], rule: &FieldRule) -> Result<Users, Failure> {
    let numbered = names.iter().enumerate().map(|(index, name)| (index + 1, Ok(name.clone()))).collect();
    checked(numbered, ARGUMENTS, rule)
}

/// Returns the beginning of a text.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn text<'a>(bytes: &'a [u8], source: &str) -> Result<&'a str, Failure> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Failure::usage(format!("{source} is UTF-16: save it as UTF-8")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::usage(format!("{source}, line {line}: not UTF-8: save it as UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The numbers of lines, each with its user name or what is wrong with the line.
type Numbered = Vec<(usize, Result<String, String>)>;

fn lines(text: &str, source: &str) -> Result<Numbered, Failure> {
    let lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty());
    lines
        .map(|(number, line)| match line.contains([',', ';', '\t', '"']) {
            true => Err(Failure::usage(format!(
                "{source}, line {number}: it looks like CSV: name the column that has the user names with --column"
            ))),
            false => Ok((number, Ok(line.to_owned()))),
        })
        .collect()
}

fn column(text: &str, name: &str, delimiter: u8, source: &str) -> Result<Numbered, Failure> {
    let broken = |error: csv::Error| Failure::usage(format!("{source} is not CSV: {error}"));
    let mut reader = csv::ReaderBuilder::new();
    reader.delimiter(delimiter).trim(csv::Trim::All).flexible(true);
    let mut reader = reader.from_reader(text.as_bytes());
    let headers = reader.headers().map_err(broken)?.clone();
    let found: Vec<usize> =
        headers.iter().enumerate().filter(|(_, header)| *header == name).map(|(index, _)| index).collect();
    let [index] = found.as_slice() else {
        // A first line without names of columns has data of people.
        let names = headers.iter().filter(|header| !header.contains('@'));
        let all: Vec<_> = names.take(SHOWN).map(|header| format!("{:?}", shortened(header))).collect();
        let problem = if found.is_empty() { "no column" } else { "more than one column" };
        return Err(Failure::usage(format!(
            "{source} has {problem} {name:?}; its columns are {}; --delimiter sets the character between them",
            if all.is_empty() { "without names".to_owned() } else { all.join(", ") }
        )));
    };
    reader
        .records()
        .map(|record| {
            let record = record.map_err(broken)?;
            let line = record.position().and_then(|position| usize::try_from(position.line()).ok()).unwrap_or_default();
            let (fields, wanted) = (record.len(), headers.len());
            let name = record.get(*index).filter(|_| fields == wanted).map(str::to_owned);
            Ok((line, name.ok_or_else(|| format!("it has {}, and the header has {wanted}", counted(fields, "field")))))
        })
        .collect()
}

/// Returns the place of a user in a list.
fn place(source: &str, number: usize) -> String {
    if source == ARGUMENTS { nth(source, number) } else { format!("{source}, {}", nth(source, number)) }
}

fn nth(source: &str, number: usize) -> String {
    if source == ARGUMENTS { format!("argument {number}") } else { format!("line {number}") }
}

/// Returns each name once, and notes those that occur again, or again in upper or lower case.
fn without_repetitions(lines: impl IntoIterator<Item = (usize, String)>, source: &str) -> Users {
    let (mut first, mut folded) = (HashMap::new(), HashMap::new());
    let (mut users, mut notes) = (Users::default(), 0_usize);
    for (line, name) in lines {
        let note = match (first.get(&name), folded.get(&name.to_lowercase())) {
            (Some(earlier), _) => Some(format!("repeats {}: counted once", nth(source, *earlier))),
            (None, Some(earlier)) => Some(format!(
                "differs from {} only in upper and lower case: two requests, which may be of one user",
                nth(source, *earlier)
            )),
            (None, None) => None,
        };
        if let Entry::Vacant(entry) = first.entry(name.clone()) {
            entry.insert(line);
            folded.entry(name.to_lowercase()).or_insert(line);
            users.names.push(name);
        }
        let Some(note) = note else { continue };
        notes += 1;
        if notes <= SHOWN {
            users.notes.push(format!("{} {note}", place(source, line)));
        }
    }
    if notes > SHOWN {
        users.notes.push(format!("and {} more such lines", notes - SHOWN));
    }
    users
}

fn checked(lines: Numbered, source: &str, rule: &FieldRule) -> Result<Users, Failure> {
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for (line, name) in lines {
        match name.and_then(|name| rule.check(&name).map(|()| name)) {
            Ok(name) => names.push((line, name)),
            Err(error) => wrong.push(format!("{}: {error}", place(source, line))),
        }
    }
    if !wrong.is_empty() {
        let more = wrong.len().checked_sub(SHOWN).filter(|more| *more > 0);
        let shown: Vec<_> = wrong.into_iter().take(SHOWN).collect();
        let more = more.map_or_else(String::new, |more| format!("\nand {more} more lines"));
        return Err(Failure::usage(format!("{}{more}\nnothing was sent", shown.join("\n"))));
    }
    let users = without_repetitions(names, source);
    match users.names.len() {
        0 => Err(Failure::usage(format!("{source} has no user name"))),
        count if count > MOST_USERS => Err(Failure::usage(format!(
            "{source} has {count} users, and one command takes up to {MOST_USERS}: each request is an object of the cluster, which every list and watch of the namespace carries. Reset them in parts, each after the one before has ended, with --ttl so that finished requests are deleted"
        ))),
        _ => Ok(users),
    }
}

#[cfg(test)]
mod tests;
