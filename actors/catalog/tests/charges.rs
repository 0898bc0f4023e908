use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::shared::{Micro, Units};

fn prices() -> impl Strategy<Value = ModelPrice> {
    let micro = || prop_oneof![Just(0_i64), 0_i64..2_000_000, 0..=ModelPrice::PER_UNIT_MICRO_MAX];
    (micro(), micro(), proptest::option::of(0_i64..=1_000), micro()).prop_map(
        |(input, output, cached_permille, minute)| ModelPrice {
            output_per_1k_micro: output,
            cached_input_per_1k_micro: cached_permille.map(|permille| input * permille / 1_000),
            per_minute_micro: minute,
            ..ModelPrice::flat(input)
        },
    )
}

fn charged() -> impl Strategy<Value = Charged> {
    let skill_price = prop_oneof![
        Just(None),
        prices().prop_map(|price| Some(SkillPrice::Fixed(price))),
        (0..=SkillPrice::PERMILLE_MAX).prop_map(|permille| Some(SkillPrice::Times(permille))),
    ];
    let version = prop_oneof![
        (1_i64..10_000).prop_map(PriceVersion::Stored),
        Just(PriceVersion::of_configured(&flat(1))),
    ];
    let count = || 0_u64..1_000_000;
    let charge_max = proptest::option::of(0_i64..10_000_000_000);
    let price_percent = proptest::option::of(0_u32..=100);
    (skill_price, version, count(), count(), count(), price_percent, charge_max).prop_map(
        |(skill_price, price_version, tokens_in, tokens_cached, tokens_out, price_percent, charge_max)| {
            Charged {
                model: "m".to_owned(),
                price_version,
                skill_price,
                units: Units {
                    tokens_cached: tokens_cached.min(tokens_in),
                    ..Units::tokens(tokens_in, tokens_out)
                },
                price_percent,
                charge_max: charge_max.map(Micro),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_usage_row_and_its_table_give_the_charge_again(
        charged in charged(), model in prices(), default in prices(), listed in any::<bool>(),
    ) {
        let models = if listed { [("m".to_owned(), model)].into() } else { Default::default() };
        let table = PriceTable { default, models };
        let price = price_of(&table, "m", charged.skill_price);
        let due = price.charge(&charged.units);
        let due = charged.price_percent.map_or(due, |percent| due.percent(percent));
        let due = charged.charge_max.map_or(due, |most| most.min(due));
        // As both are seen from outside: the row as JSON, the table as operators see it.
        let mut meta = Map::from_iter([("basis".to_owned(), json!("reported"))]);
        charged.write(&mut meta);
        let meta: Value = serde_json::from_str(&Value::Object(meta).to_string()).unwrap();
        let table: Value = serde_json::from_str(&table.to_json().to_string()).unwrap();
        let read = Charged::read(&meta).unwrap();
        prop_assert_eq!(&read, &charged);
        prop_assert_eq!(read.recompute(&PriceTable::from_json(&table).unwrap()), due);
        // And a hold for as much covers it.
        prop_assert!(price.hold(&charged.units) >= due);
    }
}

#[test]
fn a_skill_has_a_price_of_its_own_or_a_multiple() {
    let mut table = flat(50_000);
    table
        .models
        .insert("big".to_owned(), ModelPrice { output_per_1k_micro: 400_000, ..ModelPrice::flat(100_000) });
    assert_eq!(price_of(&table, "big", None).output_per_1k_micro, 400_000);
    assert_eq!(price_of(&table, "big", Some(SkillPrice::Times(1_500))).output_per_1k_micro, 600_000);
    assert_eq!(price_of(&table, "other", Some(SkillPrice::Times(0))), ModelPrice::flat(0));
    let own = Some(SkillPrice::Fixed(ModelPrice::flat(7)));
    assert_eq!(price_of(&table, "big", own), ModelPrice::flat(7));
}

#[test]
fn a_multiplier_is_in_thousandths() {
    for (multiplier, expected) in
        [(0.0, Some(0)), (1.5, Some(1_500)), (100.0, Some(100_000)), (0.001, Some(1))]
    {
        assert_eq!(SkillPrice::from_multiplier(multiplier), expected.map(SkillPrice::Times), "{multiplier}");
    }
    for wrong in [-1.0, 100.1, f64::NAN, f64::INFINITY, 0.000_1] {
        assert_eq!(SkillPrice::from_multiplier(wrong), None, "{wrong}");
    }
}

#[test]
fn what_says_not_how_it_was_computed_is_not_computed_again() {
    let row = json!({"priced_model": "m", "price_version": "1", "units": {"tokens_in": 1, "tokens_out": 2}});
    assert!(Charged::read(&row).is_some());
    let but = |name: &str, value: Value| {
        let mut row = row.clone();
        row[name] = value;
        Charged::read(&row)
    };
    for (name, value) in [
        ("priced_model", Value::Null),
        ("price_version", json!("x")),
        ("units", json!(3)),
        ("skill_price", json!("dear")),
        ("price_multiplier", json!(-1)),
        ("charge_max_micro", json!("1")),
        ("basis", json!("client")),
    ] {
        assert_eq!(but(name, value), None, "{name}");
    }
}
