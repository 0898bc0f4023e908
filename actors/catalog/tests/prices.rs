use super::*;

fn page(catalog: &mut Catalog, limit: u32, cursor: Option<String>) -> PricesPage {
    match catalog.run(Command::ListPrices { limit, cursor }) {
        Ok(Reply::PricesPage(page)) => page,
        other => panic!("{other:?}"),
    }
}

fn of_version(catalog: &mut Catalog, version: &str) -> Result<StoredPrices, Refusal> {
    match catalog.run(Command::Prices { version: version.parse()? })? {
        Reply::Prices(stored) => Ok(stored),
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_added_and_none_is_changed() {
    let mut catalog = Catalog::new();
    for micro in 1..=5 {
        let stored = catalog.put_prices(micro, because("a")).unwrap();
        assert_eq!((stored.note.version, stored.note.at_ms), (micro, NOW_MS));
        assert_eq!((stored.note.changed_by.as_str(), stored.note.reason.as_str()), ("first", "a"));
    }
    for micro in 1..=5 {
        assert_eq!(of_version(&mut catalog, &micro.to_string()).unwrap().prices, flat(micro));
    }
    assert_eq!(of_version(&mut catalog, "6"), Err(Refusal::UnknownVersion));
    let first = page(&mut catalog, 3, None);
    let numbers = |page: &PricesPage| page.items.iter().map(|note| note.version).collect::<Vec<_>>();
    assert_eq!((numbers(&first), first.current.as_ref().unwrap().note.version), (vec![5, 4, 3], 5));
    let rest = page(&mut catalog, 3, first.next_cursor);
    assert_eq!((numbers(&rest), rest.next_cursor), (vec![2, 1], None));
    assert_eq!(page(&mut catalog, 5, None).next_cursor, None, "nothing is below the first");
}

#[test]
fn of_two_who_change_the_same_version_one_is_refused() {
    let mut catalog = Catalog::new();
    assert_eq!(catalog.put_prices(1, after(0, "mine")).unwrap().note.version, 1);
    assert_eq!(
        catalog.put_prices(2, after(0, "yours")),
        Err(Refusal::VersionConflict { current_version: 1 })
    );
    assert_eq!(catalog.put_prices(2, after(7, "x")), Err(Refusal::VersionConflict { current_version: 1 }));
    assert_eq!(catalog.revision(), 1);
    assert_eq!(catalog.put_prices(2, after(1, "yours")).unwrap().note.version, 2);
}

#[test]
fn a_change_that_is_sent_again_is_made_once() {
    let mut catalog = Catalog::new();
    let first = catalog.put_prices(1, after(0, "a")).unwrap();
    assert_eq!(catalog.put_prices(1, after(0, "a")), Ok(first.clone()));
    assert_eq!(catalog.put_prices(1, because("a")), Ok(first));
    assert_eq!(catalog.revision(), 1);
    let conflict = Err(Refusal::VersionConflict { current_version: 1 });
    assert_eq!(catalog.put_prices(1, after(0, "b")), conflict, "another reason is another change");
    assert_eq!(catalog.put_prices(2, after(0, "a")), conflict);
    assert_eq!(catalog.put_prices(1, after(1, "a")).unwrap().note.version, 2, "asked for after the first");
    assert_eq!(catalog.put_prices(1, because("b")).unwrap().note.version, 3);
}

#[test]
fn what_a_configuration_said_can_be_looked_up_for_ever() {
    let mut catalog = Catalog::new();
    let keep = |catalog: &mut Catalog, micro| {
        let command = Command::Read { known_revision: None, configured: Some(flat(micro)) };
        match catalog.run(command) {
            Ok(Reply::Read { configured_kept, snapshot }) => (configured_kept, snapshot.unwrap().revision),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(keep(&mut catalog, 50), (true, 0), "no change of what is current");
    assert_eq!(keep(&mut catalog, 50), (true, 0));
    assert_eq!(keep(&mut catalog, 60), (true, 0));
    for micro in [50, 60] {
        let version = PriceVersion::of_configured(&flat(micro));
        assert_eq!(version.number(), 0);
        let stored = of_version(&mut catalog, &version.to_string()).unwrap();
        assert_eq!((stored.prices, stored.note.version), (flat(micro), 0));
    }
    let unknown = PriceVersion::of_configured(&flat(70));
    assert_eq!(of_version(&mut catalog, &unknown.to_string()), Err(Refusal::UnknownVersion));
    catalog
        .sql
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO configured_prices SELECT 'x' || i, 0, '{}' FROM n",
            &[(CONFIGURED_PRICES_MAX - 2).into()],
        )
        .unwrap();
    assert!(!keep(&mut catalog, 70).0, "there is no more room");
    assert!(keep(&mut catalog, 50).0);
}

#[test]
fn a_version_has_one_way_to_be_written() {
    for (text, expected) in [("1", Some("1")), ("0-0123456789abcdef", Some("0-0123456789abcdef"))] {
        assert_eq!(text.parse::<PriceVersion>().ok().map(|version| version.to_string()).as_deref(), expected);
    }
    assert_eq!(PriceVersion::Stored(7).number(), 7);
    for wrong in ["", "0", "-1", "01", "+1", "x", "0-", "0-0123456789ABCDEF", "0-0123", "9999999999999"] {
        assert_eq!(wrong.parse::<PriceVersion>(), Err(Refusal::UnknownVersion), "{wrong}");
    }
}

#[test]
fn tables_and_their_number_are_bounded() {
    let mut catalog = Catalog::new();
    let refused = catalog.put_prices(ModelPrice::PER_UNIT_MICRO_MAX + 1, because("a"));
    assert!(matches!(refused, Err(Refusal::InvalidSetting { field, .. }) if field == "prices"));
    catalog
        .sql
        .execute(
            "INSERT INTO prices VALUES (?1, 0, '', 'a', '{\"default\":{}}')",
            &[(PRICE_VERSIONS_MAX - 1).into()],
        )
        .unwrap();
    assert_eq!(catalog.put_prices(1, because("a")).unwrap().note.version, PRICE_VERSIONS_MAX);
    assert_eq!(
        catalog.put_prices(2, because("a")),
        Err(Refusal::TooManyVersions { limit: PRICE_VERSIONS_MAX })
    );
}
