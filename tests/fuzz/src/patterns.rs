//! A grant's pattern against a user's name.

use arbitrary::Arbitrary;
use cognito_reset_api::{
    PasswordResetRequest, UserPoolGrant,
    conditions::{GrantReason, WaitReason},
};
use cognito_reset_core::{
    action::user_names::{KnownUser, UserNames},
    grants::{GrantIndex, Namespace},
};
use jiff::Timestamp;
use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};
use serde_json::json;

use crate::statuses;

/// A pattern and a name.
#[derive(Clone, Debug, Arbitrary)]
pub struct Match {
    pattern: Vec<Piece>,
    username: Vec<Piece>,
    suspend: bool,
}

#[derive(Clone, Debug, Arbitrary)]
enum Piece {
    Token(u8),
    Letter(u8),
    Character(char),
    Text(String),
}

/// The parts of patterns, and texts that may trick the anchors around one.
const TOKENS: [&str; 40] = [
    ".*",
    ".+",
    "|",
    "(",
    ")",
    "(?:",
    "[",
    "]",
    "^",
    "$",
    r"\A",
    r"\z",
    r"\b",
    "*",
    "?",
    "+",
    "{0,9}",
    "{99}",
    "(?m)",
    "(?x)",
    "(?i)",
    "(?s)",
    "(?R)",
    "(?U)",
    "(?-u)",
    "#",
    "\n",
    "\\",
    r"\pL",
    r"\w",
    r"\d",
    "[^a]",
    "a-z",
    "ab",
    "a|b",
    "é",
    ")|(",
    "@example.com",
    r"\xFF",
    "(?P<n>",
];

fn text(pieces: &[Piece], most: usize) -> String {
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Token(number) => TOKENS[usize::from(*number) % TOKENS.len()].to_owned(),
            Piece::Letter(number) => char::from(b'a' + number % 3).to_string(),
            Piece::Character(character) => character.to_string(),
            Piece::Text(text) => text.clone(),
        })
        .collect();
    text.chars().take(most).collect()
}

/// Checks what holds for every pattern and name: the grant matches the whole name, or not at all.
pub fn check(input: &Match) {
    let (pattern, username) = (text(&input.pattern, 256), text(&input.username, 128));
    let pool = "eu-west-1_Example01";
    let grant = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "UserPoolGrant", "metadata": { "name": "some" },
        "spec": { "userPoolID": pool, "namespaces": ["*"], "usernamePattern": pattern, "suspend": input.suspend },
    });
    let request = json!({
        "apiVersion": "cognito-reset.dev/v1alpha1", "kind": "PasswordResetRequest",
        "metadata": { "name": "reset", "namespace": "team-a" }, "spec": { "userPoolID": pool, "username": username },
    });
    let grant: UserPoolGrant = serde_json::from_value(grant).unwrap();
    let request: PasswordResetRequest = serde_json::from_value(request).unwrap();
    let mut index = GrantIndex::default();
    index.put_namespace("team-a".into(), Namespace::default());
    index.put_grant(grant);
    let status = index.stale_statuses(Timestamp::UNIX_EPOCH).remove(0).object.status.unwrap_or_default();
    statuses::check(&status.conditions);
    let refused = status.conditions.iter().any(|it| it.reason == GrantReason::InvalidUsernamePattern.as_str());
    let wanted = match (refused, whole(&pattern, &username)) {
        // An invalid pattern matches no user.
        (true, _) => None,
        (false, None) => panic!("{pattern:?} is in force, and no regular expression"),
        (false, Some(false)) => None,
        (false, Some(true)) if input.suspend => Some(Err(WaitReason::GrantSuspended)),
        (false, Some(true)) => Some(Ok(())),
    };
    let user = KnownUser::Read(UserNames { username: Some(username.clone()), ..UserNames::default() });
    let allowed = index.evaluate(&request, &user).authorization.map(drop);
    assert_eq!(allowed, wanted.unwrap_or(Err(WaitReason::NoMatchingGrant)), "{pattern:?} {username:?}");
}

/// The same question asked another way: the anchors are put around the parsed pattern, where no
/// character of it can have a meaning for them.
fn whole(pattern: &str, username: &str) -> Option<bool> {
    let inner = regex_syntax::parse(pattern).ok()?;
    let whole = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
    let regex = meta::Builder::new().build_from_hir(&whole).ok()?;
    Some(regex.is_match(username))
}
