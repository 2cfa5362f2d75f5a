use std::fmt::Write as _;

use super::*;

fn rule() -> FieldRule {
    FieldRule::of("username").expect("a rule")
}

fn lines_of(bytes: &[u8]) -> Result<Users, String> {
    parse(bytes, Form::Lines, "list", &rule()).map_err(|failure| failure.message)
}

fn column_of(bytes: &[u8], name: &str, delimiter: u8) -> Result<Users, String> {
    parse(bytes, Form::Column { name, delimiter }, "list", &rule()).map_err(|failure| failure.message)
}

fn names(users: Result<Users, String>) -> Vec<String> {
    users.expect("a list").names
}

#[test]
fn a_list_is_read_as_editors_write_it() {
    for list in ["alice\nbob\n", "alice\nbob", "\u{feff}alice\r\nbob\r\n", "\n\n  alice  \n\t\nbob\n\n"] {
        assert_eq!(names(lines_of(list.as_bytes())), ["alice", "bob"], "{list:?}");
    }
    for (list, delimiter) in [
        ("id,mail\n1,alice\n2,bob\n", b','),
        ("\u{feff}mail,id\r\nalice,1\r\nbob,2\r\n", b','),
        ("\"id\",\"mail\"\n\"1, or 2\",\"alice\"\n\"two\nlines\", bob \n", b','),
        ("id;mail\n1;alice\n2;bob\n", b';'),
        ("id\tmail\n1\talice\n2\tbob\n", b'\t'),
    ] {
        assert_eq!(names(column_of(list.as_bytes(), "mail", delimiter)), ["alice", "bob"], "{list:?}");
    }
    // A name may have what CSV quotes.
    assert_eq!(names(column_of(b"mail\n\"a,\"\"b\"\"\"\n", "mail", b',')), [r#"a,"b""#]);
}

#[test]
fn repetitions_count_once_and_are_said() {
    let users = lines_of(b"alice\nbob\nalice\nAlice\n").expect("a list");
    assert_eq!(users.names, ["alice", "bob", "Alice"]);
    let notes = [
        "list, line 3 repeats line 1: counted once",
        "list, line 4 differs from line 1 only in upper and lower case: two requests, which may be of one user",
    ];
    assert_eq!(users.notes, notes);
    let again = lines_of(b"alice\nbob\nalice\nalice\n").expect("a list");
    assert_eq!(again.notes, [3, 4].map(|line| format!("list, line {line} repeats line 1: counted once")));
    let many = lines_of("alice\n".repeat(20).as_bytes()).expect("a list");
    assert_eq!((many.names.len(), many.notes.len()), (1, SHOWN + 1));
    assert_eq!(many.notes.last().map(String::as_str), Some("and 9 more such lines"));
}

#[test]
fn a_list_that_cannot_be_used_says_why() {
    let utf16 = |bytes: &[u8]| [bytes, &[b'a', 0][..]].concat();
    for (list, wanted) in [
        (b"".to_vec(), "list has no user name"),
        (b"\n \n\r\n".to_vec(), "list has no user name"),
        ("\u{feff}".into(), "list has no user name"),
        (utf16(&[0xff, 0xfe]), "list is UTF-16: save it as UTF-8"),
        (utf16(&[0xfe, 0xff]), "list is UTF-16: save it as UTF-8"),
        (b"alice\nb\xfcrger\n".to_vec(), "list, line 2: not UTF-8: save it as UTF-8"),
        (
            b"alice\nid,mail\n".to_vec(),
            "list, line 2: it looks like CSV: name the column that has the user names with --column",
        ),
        (
            b"\"alice\"\n".to_vec(),
            "list, line 1: it looks like CSV: name the column that has the user names with --column",
        ),
        (
            b"alice\nbob smith\n".to_vec(),
            "list, line 2: username contains ' ', and neither spaces nor control characters are allowed\nnothing was sent",
        ),
        (
            "a".repeat(129).into(),
            "list, line 1: username has 129 characters, and 1 to 128 are allowed\nnothing was sent",
        ),
        (
            b"a\x1bb".to_vec(),
            "list, line 1: username contains '\\u{1b}', and neither spaces nor control characters are allowed\nnothing was sent",
        ),
    ] {
        assert_eq!(lines_of(&list), Err(wanted.to_owned()), "{list:?}");
    }
}

#[test]
fn a_csv_that_cannot_be_used_says_why() {
    for (list, name, beginning) in [
        ("", "mail", "list has no column \"mail\"; its columns are "),
        ("id,Mail\n1,alice\n", "mail", "list has no column \"mail\"; its columns are \"id\", \"Mail\";"),
        ("id;mail\n1;alice\n", "mail", "list has no column \"mail\"; its columns are \"id;mail\"; --delimiter"),
        // A list without a header: people are not named.
        (
            "alice@example.com,Alice\nb@example.com,Bob\n",
            "mail",
            "list has no column \"mail\"; its columns are \"Alice\";",
        ),
        ("mail,mail\na,b\n", "mail", "list has more than one column \"mail\";"),
        ("id,mail\n", "mail", "list has no user name"),
        (
            "id,mail\n1,alice\n2\n3,b c\n4,dave,x\n",
            "mail",
            "list, line 3: it has 1 field, and the header has 2\nlist, line 4: username contains ' ', and neither spaces nor control characters are allowed\nlist, line 5: it has 3 fields, and the header has 2\nnothing was sent",
        ),
        ("id,mail\n1,alice\n2,\n", "mail", "list, line 3: username has 0 characters, and 1 to 128 are allowed"),
        ("id,mail\n\"1\n2\",alice\n3,b c\n", "mail", "list, line 4: username contains ' '"),
    ] {
        let failure = column_of(list.as_bytes(), name, b',').expect_err(list);
        assert!(failure.starts_with(beginning), "{list:?}: {failure}");
    }
}

#[test]
fn bad_lines_are_named_up_to_ten() {
    let mut list = "alice\n".to_owned();
    (0..12).for_each(|number| writeln!(list, "no name {number}").expect("a line"));
    let failure = lines_of(list.as_bytes()).expect_err("bad lines");
    assert!(failure.ends_with("\nand 2 more lines\nnothing was sent"), "{failure}");
    assert_eq!(failure.matches("list, line ").count(), 10, "{failure}");
}

#[test]
fn a_list_has_up_to_2000_users() {
    let list = |count: usize| (0..count).fold(String::new(), |list, number| list + &format!("user-{number}\n"));
    assert_eq!(names(lines_of(list(MOST_USERS).as_bytes())).len(), MOST_USERS);
    let failure = lines_of(list(MOST_USERS + 1).as_bytes()).expect_err("too many");
    assert!(failure.starts_with("list has 2001 users, and one command takes up to 2000"), "{failure}");
    // Repetitions do not count.
    let twice = list(MOST_USERS) + &list(MOST_USERS);
    assert_eq!(names(lines_of(twice.as_bytes())).len(), MOST_USERS);
}
