//! The plan of a run: the rows that it can show, what it makes in the account, and what that costs.
//!
//! Everything in the account has a name that follows from the run's id, so that it is found and
//! removed by its name, also if nothing else of the run is known.

use std::fmt;

use uuid::Uuid;

use crate::rows::{Pool, ROWS, Row, User};

/// The tag of everything that a run makes. Its value is the run's id.
pub(crate) const TAG: &str = "cognito-reset.dev/verify-run";
/// The begin of all names.
pub(crate) const PREFIX: &str = "cognito-reset-verify-";
/// The e-mails that Cognito's own sender sends in a day, for an account.
const MAILS_A_DAY: u32 = 50;
/// The most times that Cognito invokes a trigger for one call.
const INVOCATIONS: usize = 3;

/// The id of a run: 8 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunId(String);

impl RunId {
    /// Draws a new id.
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string().chars().take(8).collect())
    }

    /// Parses an id from the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let problem = "RUN has to be the id that the run printed: 8 digits or letters from a to f; the names of its \
                       user pools contain it";
        fits.then(|| Self(text.to_owned())).ok_or_else(|| problem.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the function.
    pub(crate) fn function(&self) -> String {
        format!("{PREFIX}{self}-trigger")
    }

    /// Returns the name of a function that is never made.
    pub(crate) fn missing_function(&self) -> String {
        format!("{PREFIX}{self}-missing")
    }

    /// Returns the name of a role.
    pub(crate) fn role(&self, role: Role) -> String {
        format!("{PREFIX}{self}-{}", role.suffix())
    }

    /// Returns the name of a pool; `None` if it is never made.
    pub(crate) fn pool(&self, pool: Pool) -> Option<String> {
        Some(format!("{PREFIX}{self}-{}", pool.suffix()?))
    }

    /// Returns the name of the row's user. Each row has its own.
    pub(crate) fn user(&self, row: &Row) -> String {
        format!("verify-{self}-{}", row.id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A role. None has a policy, so none allows anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The role of the function.
    Function,
    /// The role by which Cognito would send SMS.
    Sms,
    /// The role under which a reset is not allowed.
    Caller,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Function, Self::Sms, Self::Caller];

    /// Returns the end of its name.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Sms => "sms",
            Self::Caller => "caller",
        }
    }
}

/// Something that a run makes. Users, app clients and permissions are removed with what contains
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Role(Role),
    Function,
    Pool(Pool),
}

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// False if neither a role nor a function is made.
    pub(crate) with_lambda: bool,
}

impl Plan {
    /// Returns the rows that can be shown.
    pub(crate) fn rows(self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(move |row| self.shows(row))
    }

    /// Returns true if the plan makes all that the row needs.
    pub(crate) const fn shows(self, row: &Row) -> bool {
        self.with_lambda || !row.needs_iam()
    }

    /// Returns what is made, each after what it needs. It is removed in the opposite order.
    pub(crate) fn resources(self) -> Vec<Resource> {
        let mut all = Vec::new();
        if self.with_lambda {
            all.extend(Role::ALL.map(Resource::Role));
            all.push(Resource::Function);
        }
        all.extend(Pool::MADE.into_iter().filter(|pool| self.with_lambda || !pool.needs_iam()).map(Resource::Pool));
        all
    }

    /// Returns what is billed or counted, a line for each. `docs/costs.md` has the sources.
    pub(crate) fn costs(self) -> Vec<String> {
        let users = self.rows().filter(|row| row.user != User::Missing).count();
        let mails: u32 = self.rows().map(|row| row.mails() + row.user.mails()).sum();
        let triggered = self.rows().filter(|row| row.pool == Pool::FailingTrigger).count();
        let mut lines = vec![
            format!("Amazon Cognito: {users} monthly active users, because AdminGetUser reads each user of the run"),
            format!(
                "e-mail: at most {mails} of the {MAILS_A_DAY} a day that Cognito's own sender sends for the account, \
                 to the mailbox simulator of Amazon SES; the other pools of the account share these {MAILS_A_DAY}"
            ),
            "SMS: none".to_owned(),
        ];
        if self.with_lambda {
            lines.push(format!(
                "AWS Lambda: at most {} invocations of one function of 128 MB, none longer than 15 s",
                triggered * INVOCATIONS
            ));
        } else {
            lines.push("AWS Lambda: none".to_owned());
        }
        lines.push("AWS IAM and AWS STS: not billed".to_owned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_made_after_what_it_needs() {
        let pool = |pool| Resource::Pool(pool);
        let all = Plan { with_lambda: true }.resources();
        let roles = Role::ALL.map(Resource::Role);
        let pools = Pool::MADE.map(Resource::Pool);
        assert_eq!(all, [&roles[..], &[Resource::Function], &pools].concat());
        let without = Plan { with_lambda: false }.resources();
        assert_eq!(without, [pool(Pool::Mail), pool(Pool::AdminOnly), pool(Pool::ForbiddenTrigger)]);
    }

    #[test]
    fn every_row_has_its_pool_in_its_plan() {
        for with_lambda in [false, true] {
            let plan = Plan { with_lambda };
            let made = plan.resources();
            for row in plan.rows() {
                assert!(row.pool == Pool::Missing || made.contains(&Resource::Pool(row.pool)), "{}", row.id);
            }
        }
    }

    #[test]
    fn costs_name_everything_that_is_billed() {
        let with = Plan { with_lambda: true }.costs();
        assert!(with[0].contains(": 18 monthly active users"), "{with:?}");
        assert!(with[1].contains("at most 14 of the 50 a day"), "{with:?}");
        assert!(with[3].contains("at most 12 invocations"), "{with:?}");
        let without = Plan { with_lambda: false }.costs();
        assert!(without[0].contains(": 12 monthly active users"), "{without:?}");
        assert_eq!(without[3], "AWS Lambda: none");
        let page = include_str!("../../../docs/costs.md");
        assert!(page.contains(&format!("sends at most {MAILS_A_DAY} e-mails a day for the account")));
    }

    #[test]
    fn names_of_a_run_are_found_by_its_id_alone() {
        let run = RunId::parse("0123abcd").unwrap();
        assert_eq!(run.pool(Pool::Mail).as_deref(), Some("cognito-reset-verify-0123abcd-mail"));
        assert_eq!(run.pool(Pool::Missing), None);
        assert_eq!(run.function(), "cognito-reset-verify-0123abcd-trigger");
        assert_eq!(run.role(Role::Sms), "cognito-reset-verify-0123abcd-sms");
        let random = RunId::random();
        assert_eq!(RunId::parse(random.as_str()), Ok(random));
    }

    #[test]
    fn anything_but_the_id_of_a_run_is_refused() {
        for text in ["", "0123abc", "0123ABCD", "0123abcde", "*", "../../..", "0123abc "] {
            assert!(RunId::parse(text).unwrap_err().contains("RUN has to be"), "{text}");
        }
    }
}
