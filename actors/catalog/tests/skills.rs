use super::*;
use crate::catalog::terms::{DESCRIPTION_BYTES_MAX, PREFERENCES_MAX, SYSTEM_BYTES_MAX};

fn named(name: &str) -> String {
    name.to_owned()
}

fn delete(change: Change) -> Command {
    Command::DeleteSkill { name: named("s"), change }
}

fn current(catalog: &mut Catalog) -> Result<StoredSkill, Refusal> {
    catalog.skill(Command::Skill { name: named("s"), version: None })
}

fn page(catalog: &mut Catalog, limit: u32, cursor: Option<String>) -> Result<SkillPage, Refusal> {
    match catalog.run(Command::ListSkillVersions { name: named("s"), limit, cursor })? {
        Reply::SkillPage(page) => Ok(page),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_skill_has_every_version_it_ever_had() {
    let mut catalog = Catalog::new();
    catalog.put_skill("s", "one", because("a")).unwrap();
    catalog.put_skill("s", "two", because("b")).unwrap();
    let gone = catalog.skill(delete(because("c"))).unwrap();
    assert_eq!((gone.note.version, gone.note.is_gone, &gone.terms), (3, true, &None));
    assert_eq!(current(&mut catalog), Err(Refusal::UnknownVersion));
    assert!(catalog.read(None).unwrap().skills.is_empty());
    let one = catalog.skill(Command::Skill { name: named("s"), version: Some(1) }).unwrap();
    assert_eq!(one.terms.unwrap().system, "one");
    let back = Command::RollBackSkill { name: named("s"), version: 2, change: because("d") };
    let back = catalog.skill(back).unwrap();
    assert_eq!((back.note.version, back.terms.unwrap().system.as_str()), (4, "two"));
    let first = page(&mut catalog, 2, None).unwrap();
    let notes = |page: &SkillPage| {
        page.items.iter().map(|note| (note.version, note.is_gone, note.reason.clone())).collect::<Vec<_>>()
    };
    assert_eq!(notes(&first), [(4, false, named("d")), (3, true, named("c"))]);
    let rest = page(&mut catalog, 2, first.next_cursor).unwrap();
    assert_eq!(notes(&rest), [(2, false, named("b")), (1, false, named("a"))]);
    assert_eq!((rest.next_cursor, rest.current.note.version), (None, 4));
    assert_eq!(page(&mut catalog, 2, Some(named("t-3"))), Err(Refusal::InvalidCursor));
}

#[test]
fn what_is_not_there_cannot_be_deleted_or_rolled_back_to() {
    let mut catalog = Catalog::new();
    assert_eq!(catalog.skill(delete(because("a"))), Err(Refusal::UnknownVersion));
    assert_eq!(page(&mut catalog, 1, None), Err(Refusal::UnknownVersion));
    catalog.put_skill("s", "one", because("a")).unwrap();
    catalog.skill(delete(because("b"))).unwrap();
    assert_eq!(catalog.skill(delete(because("c"))), Err(Refusal::UnknownVersion));
    for version in [0, 2, 3] {
        let back = Command::RollBackSkill { name: named("s"), version, change: because("d") };
        assert_eq!(catalog.skill(back), Err(Refusal::UnknownVersion), "{version}");
    }
}

#[test]
fn changes_are_made_once_and_in_order() {
    let mut catalog = Catalog::new();
    let first = catalog.put_skill("s", "one", after(0, "a")).unwrap();
    assert_eq!(catalog.put_skill("s", "one", after(0, "a")), Ok(first));
    let conflict = Refusal::VersionConflict { current_version: 1 };
    assert_eq!(catalog.put_skill("s", "two", after(0, "a")), Err(conflict.clone()));
    assert_eq!(catalog.skill(delete(after(0, "b"))), Err(conflict.clone()));
    let back =
        |expected| Command::RollBackSkill { name: named("s"), version: 1, change: after(expected, "c") };
    assert_eq!(catalog.skill(back(3)), Err(conflict));
    let gone = catalog.skill(delete(after(1, "b"))).unwrap();
    assert_eq!(catalog.skill(delete(after(1, "b"))), Ok(gone));
    let again = catalog.skill(back(2)).unwrap();
    assert_eq!(catalog.skill(back(2)), Ok(again.clone()));
    assert_eq!((again.note.version, catalog.revision()), (3, 3));
}

#[test]
fn names_are_lower_case_because_paths_are() {
    let mut catalog = Catalog::new();
    for wrong in ["", "S", "a b", "ä", "a/b", &"s".repeat(65)] {
        assert_eq!(catalog.put_skill(wrong, "x", because("a")), Err(Refusal::UnknownVersion), "{wrong}");
    }
    for right in ["s", "sum-up_2.1", &"s".repeat(64)] {
        assert!(catalog.put_skill(right, "x", because("a")).is_ok(), "{right}");
    }
}

#[test]
fn terms_are_within_their_limits() {
    let base = SkillTerms::default;
    let many = |count: usize| vec![named("m"); count];
    for (field, terms) in [
        ("system", SkillTerms { system: "x".repeat(SYSTEM_BYTES_MAX + 1), ..base() }),
        ("description", SkillTerms { description: "x".repeat(DESCRIPTION_BYTES_MAX + 1), ..base() }),
        ("models", SkillTerms { models: many(PREFERENCES_MAX + 1), ..base() }),
        ("models", SkillTerms { models: vec![named("a b")], ..base() }),
        ("providers", SkillTerms { providers: vec![String::new()], ..base() }),
        ("max_tokens", SkillTerms { max_tokens: Some(0), ..base() }),
        ("input_bytes_max", SkillTerms { input_bytes_max: Some(0), ..base() }),
        ("input_bytes_max", SkillTerms { input_bytes_max: Some(1_048_577), ..base() }),
        ("price", SkillTerms { price: Some(SkillPrice::Fixed(ModelPrice::flat(-1))), ..base() }),
        ("price_multiplier", SkillTerms { price: Some(SkillPrice::Times(100_001)), ..base() }),
    ] {
        let refused = terms.check("s");
        assert!(
            matches!(&refused, Err(Refusal::InvalidSetting { field: found, .. }) if found == field),
            "{refused:?}"
        );
    }
    let off = SkillTerms { enabled: false, ..base() };
    assert!(off.check("s").is_ok() && off.check(GENERAL).is_err(), "what names no skill must be answered");
    let built_in = SkillTerms::built_in();
    assert!(built_in.check(GENERAL).is_ok());
    assert!(built_in.system.starts_with("You are a helpful assistant.") && !built_in.description.is_empty());
    let most = SkillTerms {
        system: "x".repeat(SYSTEM_BYTES_MAX),
        description: "x".repeat(DESCRIPTION_BYTES_MAX),
        models: many(PREFERENCES_MAX),
        price: Some(SkillPrice::Times(SkillPrice::PERMILLE_MAX)),
        max_tokens: Some(1),
        input_bytes_max: Some(1_048_576),
        ..base()
    };
    assert_eq!(most.check("s"), Ok(()));
}

#[test]
fn the_skills_together_are_bounded_and_a_refusal_leaves_nothing() {
    let mut catalog = Catalog::new();
    for n in 0..SKILLS_MAX {
        catalog.put_skill(&format!("s{n}"), "x", because("a")).unwrap();
    }
    let refused = catalog.put_skill("one-more", "x", because("a"));
    assert_eq!(refused, Err(Refusal::TooManySkills { limit: SKILLS_MAX }));
    assert_eq!(catalog.revision(), i64::from(SKILLS_MAX));
    assert!(catalog.put_skill("s0", "y", because("a")).is_ok(), "another version of one that is there");
    let name = named("s1");
    catalog.skill(Command::DeleteSkill { name, change: because("a") }).unwrap();
    assert!(catalog.put_skill("one-more", "x", because("b")).is_ok());
    // As large as they may be, they are more than all together may be.
    let largest = "\u{1}".repeat(SYSTEM_BYTES_MAX);
    let outcome = (2..SKILLS_MAX)
        .try_for_each(|n| catalog.put_skill(&format!("s{n}"), &largest, because("large")).map(drop));
    assert!(
        matches!(&outcome, Err(Refusal::InvalidSetting { field, .. }) if field == "system"),
        "{outcome:?}"
    );
    let bytes: i64 = crate::sql::row(
        &mut catalog.sql,
        "SELECT SUM(LENGTH(CAST(terms AS BLOB))) FROM skill_versions JOIN skills USING (name, version)",
        &[],
    )
    .unwrap()
    .unwrap();
    assert!(bytes <= SKILLS_BYTES_MAX && bytes > SKILLS_BYTES_MAX - 200_000, "{bytes}");
}

#[test]
fn the_skills_together_may_have_every_byte_of_their_room() {
    let mut catalog = Catalog::new();
    let mut left = usize::try_from(SKILLS_BYTES_MAX).unwrap();
    let empty = SkillTerms { system: "x".to_owned(), ..SkillTerms::default() };
    let around = serde_json::to_string(&empty).unwrap().len() - 1;
    let mut n = 0;
    let mut store = |bytes: usize, reason: &str| {
        n += 1;
        catalog.put_skill(&format!("s{n}"), &"x".repeat(bytes), because(reason))
    };
    while left >= 2 * (around + SYSTEM_BYTES_MAX) {
        store(SYSTEM_BYTES_MAX, "large").unwrap();
        left -= around + SYSTEM_BYTES_MAX;
    }
    // What two and one of a single byte fill.
    let rest = left - around - 1;
    store(rest / 2 - around, "one half").unwrap();
    store(rest - rest / 2 - around, "the other").unwrap();
    let over = store(2, "two bytes");
    assert!(matches!(over, Err(Refusal::InvalidSetting { .. })), "{over:?}");
    assert!(store(1, "one byte").is_ok());
}

#[test]
fn versions_of_all_skills_are_bounded() {
    let mut catalog = Catalog::new();
    catalog
        .sql
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO skill_versions SELECT 'old', i, 0, '', 'a', NULL FROM n",
            &[(SKILL_VERSIONS_MAX - 1).into()],
        )
        .unwrap();
    assert!(catalog.put_skill("s", "x", because("a")).is_ok());
    assert_eq!(
        catalog.put_skill("s", "y", because("a")),
        Err(Refusal::TooManyVersions { limit: SKILL_VERSIONS_MAX })
    );
    assert_eq!(current(&mut catalog).unwrap().terms.unwrap().system, "x");
}
