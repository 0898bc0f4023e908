//! The form of the table: a case, what it says in which mode, and the page that is written of what was observed.

use crate::stage::Stage;
use http_tests::client::{Call, Reply};
use reqwest::Method;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Verified,
    Asserted,
}

impl Mode {
    pub const ALL: [Self; 2] = [Self::Verified, Self::Asserted];

    /// The value of `IDENTITY_MODE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Asserted => "asserted",
        }
    }
}

/// What a request is to be told.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// This status and code.
    Refused(u16, &'static str),
    /// Nothing speaks against it. Some of the routes want credit first.
    Served,
}

/// A request and what it is told, on each of its routes. The order of the fields is that of a sentence.
pub struct Case {
    pub number: u8,
    pub what: &'static str,
    pub on: fn() -> Vec<(Method, &'static str)>,
    /// Makes an honest request of that route the abusive one.
    pub send: fn(&Stage<'_>, Call) -> Call,
    pub verified: Told,
    pub asserted: Told,
}

impl Case {
    pub const fn told(&self, mode: Mode) -> Told {
        match mode {
            Mode::Verified => self.verified,
            Mode::Asserted => self.asserted,
        }
    }
}

/// One thing that was seen.
struct Row {
    number: u8,
    what: String,
    expected: String,
    mode: Mode,
    route: String,
    observed: String,
    holds: bool,
}

/// Routes on which the same was expected and observed, in one mode.
type Groups<'a> = BTreeMap<(Mode, &'a str, &'a str), Vec<&'a str>>;

/// All that was seen.
#[derive(Default)]
pub struct Seen {
    rows: Mutex<Vec<Row>>,
}

impl Seen {
    /// Notes the reply to a request of the table.
    pub fn reply(&self, case: &Case, mode: Mode, route: &str, reply: &Reply) {
        let told = case.told(mode);
        let code = reply.error();
        let (expected, holds) = match told {
            Told::Refused(status, wanted) => {
                (format!("{status} {wanted}"), (reply.status, code.as_str()) == (status, wanted))
            }
            Told::Served => ("served".to_owned(), matches!(reply.status, 200 | 402)),
        };
        let observed = format!("{} {code}", reply.status).trim_end().to_owned();
        self.note((case.number, case.what), mode, route, &expected, &observed, holds);
    }

    /// Notes what came of more than one request.
    pub fn note(
        &self,
        (number, what): (u8, &str),
        mode: Mode,
        route: &str,
        expected: &str,
        observed: &str,
        holds: bool,
    ) {
        let (what, expected) = (what.to_owned(), expected.to_owned());
        let (route, observed) = (route.to_owned(), observed.to_owned());
        let row = Row { number, what, expected, mode, route, observed, holds };
        self.rows.lock().expect("the rows").push(row);
    }

    /// A line for each that is not as it should be.
    pub fn wrong(&self) -> Vec<String> {
        let rows = self.rows.lock().expect("the rows");
        let wrong = rows.iter().filter(|row| !row.holds);
        wrong
            .map(|Row { number, what, expected, mode, route, observed, .. }| {
                format!(
                    "case {number} ({what}), {}, {route}: {observed}, where it should be {expected}",
                    mode.name()
                )
            })
            .collect()
    }

    /// Cases that were seen in `mode`.
    pub fn numbers(&self, mode: Mode) -> Vec<u8> {
        let rows = self.rows.lock().expect("the rows");
        let mut numbers: Vec<u8> = rows.iter().filter(|row| row.mode == mode).map(|row| row.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The page: for each case what was observed in which mode, and on which routes.
    pub fn page(&self) -> String {
        let rows = self.rows.lock().expect("the rows");
        let mut cases: BTreeMap<(u8, usize), (&str, Groups<'_>)> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let first = rows.iter().position(|other| (other.number, &other.what) == (row.number, &row.what));
            let (_, seen) =
                cases.entry((row.number, first.unwrap_or(at))).or_insert((&row.what, BTreeMap::new()));
            seen.entry((row.mode, &row.expected, &row.observed)).or_default().push(&row.route);
        }
        let mut page =
            String::from("| # | Case | Mode | Expected | Observed | Where |\n|---|---|---|---|---|---|\n");
        for ((number, _), (what, seen)) in &cases {
            for ((mode, expected, observed), routes) in seen {
                let routes = routes.join(", ");
                let mode = mode.name();
                let row = format!("| {number} | {what} | {mode} | {expected} | {observed} | {routes} |\n");
                page.push_str(&row);
            }
        }
        let requests = rows.len();
        let held = rows.iter().filter(|row| row.holds).count();
        let _infallible = write!(page, "\n{held} of {requests} observations are as expected.\n");
        page
    }
}
