//! Colours.

use super::standin::{StandIn, kubeconfig, run};

#[test]
fn colours_are_as_the_user_asks_and_never_in_a_pipe_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let refuses = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":403,"message":"no"}"#;
    let server = StandIn::start(|_, head| match head.starts_with("GET /version") {
        true => (200, String::new(), r#"{"major":"1","minor":"30","gitVersion":"v1.30.0","platform":""}"#.to_owned()),
        false => (403, String::new(), refuses.to_owned()),
    });
    let file = kubeconfig(&format!("server: 'http://{}'", server.address), "");
    for (variables, flags, is_coloured) in [
        (&[][..], &[][..], false),
        (&[], &["--color", "always"], true),
        (&[("NO_COLOR", "1")], &["--color=always"], true),
        (&[("CLICOLOR_FORCE", "1")], &[], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &["--color", "never"], false),
        (&[("CLICOLOR_FORCE", "1")], &["--color", "never"], false),
    ] {
        let shown = run(directory.path(), &file, variables, &[&["doctor"], flags].concat());
        assert!(shown.code == Some(5) && shown.stdout.contains("v1.30.0"), "{shown:?}");
        assert_eq!(
            shown.stdout.starts_with("\u{1b}[1m\u{1b}[31mfail\u{1b}[0m"),
            is_coloured,
            "{variables:?} {flags:?}"
        );
        assert_eq!(shown.stdout.contains('\u{1b}'), is_coloured, "{variables:?} {flags:?}");
    }
}

#[test]
fn help_and_errors_follow_the_flag() {
    let directory = tempfile::tempdir().expect("a directory");
    for (arguments, is_coloured) in [
        (&["--color", "always", "--help"][..], true),
        (&["list", "--help", "--color=always"], true),
        (&["lost", "--color=always"], true),
        (&["list", "--help"], false),
        (&["lost"], false),
    ] {
        let shown = run(directory.path(), "", &[], arguments);
        assert_eq!(format!("{shown:?}").contains("\\u{1b}"), is_coloured, "{shown:?}");
        assert_eq!(shown.code, Some(if arguments.contains(&"lost") { 2 } else { 0 }), "{shown:?}");
    }
}
