//! The rules of the catalog on the SQL that ships, each topic in its file.

mod charges;
mod prices;
mod skills;

use super::*;
use crate::shared::{ModelPrice, PriceTable};
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_000_000;

/// A catalog, each command in a transaction of its own as the actor runs it.
struct Catalog {
    sql: Sqlite,
}

impl Catalog {
    fn new() -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        open(&mut sql).unwrap();
        Self { sql }
    }

    fn run(&mut self, command: Command) -> Result<Reply, Refusal> {
        self.sql.transaction(|sql| {
            open(sql)?;
            handle(sql, command, NOW_MS)
        })
    }

    fn put_prices(&mut self, micro: i64, change: Change) -> Result<StoredPrices, Refusal> {
        match self.run(Command::PutPrices { prices: flat(micro), change })? {
            Reply::Prices(stored) => Ok(stored),
            other => panic!("{other:?}"),
        }
    }

    fn put_skill(&mut self, name: &str, system: &str, change: Change) -> Result<StoredSkill, Refusal> {
        let terms = Box::new(SkillTerms { system: system.to_owned(), ..SkillTerms::default() });
        self.skill(Command::PutSkill { name: name.to_owned(), terms, change })
    }

    fn skill(&mut self, command: Command) -> Result<StoredSkill, Refusal> {
        match self.run(command)? {
            Reply::Skill(stored) => Ok(stored),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, known_revision: Option<i64>) -> Option<Snapshot> {
        match self.run(Command::Read { known_revision, configured: None }) {
            Ok(Reply::Read { snapshot, .. }) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    fn revision(&mut self) -> i64 {
        self.read(None).unwrap().revision
    }
}

fn flat(micro: i64) -> PriceTable {
    PriceTable { default: ModelPrice::flat(micro), models: Default::default() }
}

fn because(reason: &str) -> Change {
    Change { expected_version: None, by: "first".to_owned(), reason: reason.to_owned() }
}

fn after(version: i64, reason: &str) -> Change {
    Change { expected_version: Some(version), ..because(reason) }
}

#[test]
fn who_has_the_current_revision_is_told_no_more() {
    let mut catalog = Catalog::new();
    let empty = catalog.read(None).unwrap();
    assert_eq!((empty.revision, &empty.prices, empty.skills.len()), (0, &None, 0));
    assert_eq!(catalog.read(Some(0)), None);
    catalog.put_prices(1, because("a")).unwrap();
    catalog.put_skill("s", "x", because("a")).unwrap();
    let now = catalog.read(Some(0)).unwrap();
    assert_eq!((now.revision, now.prices.unwrap().note.version, now.skills.len()), (2, 1, 1));
    assert_eq!(catalog.read(Some(2)), None);
    assert!(catalog.read(Some(3)).is_some(), "a copy from another time is no copy");
}

#[test]
fn every_change_says_why() {
    let mut catalog = Catalog::new();
    for reason in [String::new(), "  ".to_owned(), "x".repeat(REASON_BYTES_MAX + 1)] {
        let refused = |outcome: Result<(), Refusal>| {
            assert!(matches!(outcome, Err(Refusal::InvalidSetting { field, .. }) if field == "reason"));
        };
        refused(catalog.put_prices(1, because(&reason)).map(drop));
        refused(catalog.put_skill("s", "x", because(&reason)).map(drop));
        let name = "s".to_owned();
        refused(
            catalog.skill(Command::DeleteSkill { name: name.clone(), change: because(&reason) }).map(drop),
        );
        let back = Command::RollBackSkill { name, version: 1, change: because(&reason) };
        refused(catalog.skill(back).map(drop));
    }
    assert_eq!(catalog.revision(), 0);
    assert!(catalog.put_prices(1, because(&"x".repeat(REASON_BYTES_MAX))).is_ok());
}

#[test]
fn cursors_belong_to_their_list() {
    for (list, raw, expected) in [
        ("prices", Some("prices-7"), Ok(7)),
        ("a-1", Some("a-1-7"), Ok(7)),
        ("prices", None, Ok((1 << 53) - 1)),
        ("prices", Some("skills-7"), Err(Refusal::InvalidCursor)),
        ("prices", Some("prices-07"), Err(Refusal::InvalidCursor)),
        ("prices", Some("prices--7"), Err(Refusal::InvalidCursor)),
        ("prices", Some("prices-+7"), Err(Refusal::InvalidCursor)),
        ("prices", Some(""), Err(Refusal::InvalidCursor)),
    ] {
        assert_eq!(below(list, raw), expected, "{raw:?}");
    }
}
