use proptest::prelude::*;

use super::*;

fn read(value: Value) -> ModelPrice {
    ModelPrice::from_json(&value).unwrap()
}

#[test]
fn charges_are_the_ones_clients_know() {
    let price = read(json!(0.05));
    for (tokens_in, tokens_out, expected) in [
        (52, 192, "0.012"),
        (73, 26, "0.005"),
        (57, 167, "0.011"),
        (52, 34, "0.004"),
        (52, 338, "0.020"),
        (0, 0, "0.000"),
    ] {
        assert_eq!(price.charge(&Units::tokens(tokens_in, tokens_out)).to_string(), expected);
    }
}

#[test]
fn half_a_step_is_rounded_up_once_and_over_the_sum() {
    assert_eq!(read(json!(0.5)).charge(&Units::tokens(1, 0)), Micro(1_000), "0.0005 credits");
    assert_eq!(read(json!(0.499)).charge(&Units::tokens(0, 1)), Micro(0));
    let price = read(json!({"input": 0.3, "output": 0.2}));
    assert_eq!(price.charge(&Units::tokens(1, 1)), Micro(1_000), "0.0003 and 0.0002 are one half of a step");
}

#[test]
fn every_unit_has_its_price() {
    let price = read(json!({
        "input": 1, "output": 2, "cached_input": 0.25, "per_1k_characters": 3, "per_minute": 6, "per_image": 0.5,
    }));
    let one = |units: Units| price.charge(&units).to_string();
    assert_eq!(one(Units { tokens_in: 1_000, ..Units::default() }), "1.000");
    assert_eq!(one(Units { tokens_in: 1_000, tokens_cached: 800, ..Units::default() }), "0.400");
    assert_eq!(
        one(Units { tokens_in: 10, tokens_cached: 99, ..Units::default() }),
        "0.003",
        "no more than came in"
    );
    assert_eq!(one(Units { tokens_out: 1_000, ..Units::default() }), "2.000");
    assert_eq!(one(Units { characters: 500, ..Units::default() }), "1.500");
    assert_eq!(one(Units { milliseconds: 30_000, ..Units::default() }), "3.000");
    assert_eq!(one(Units { images: 3, ..Units::default() }), "1.500");
    assert_eq!(
        read(json!(1)).charge(&Units { tokens_in: 9, tokens_cached: 9, ..Units::default() }),
        Micro(9_000)
    );
}

#[test]
fn units_beside_tokens_are_written_where_there_are_any() {
    assert_eq!(json!(Units::tokens(1, 0)), json!({"tokens_in": 1, "tokens_out": 0}));
    let all = json!({
        "tokens_in": 1, "tokens_cached": 1, "tokens_out": 1, "characters": 1, "milliseconds": 1, "images": 1,
    });
    let read: Units = serde_json::from_value(all.clone()).unwrap();
    assert_eq!(json!(read), all);
}

#[test]
fn a_hold_counts_on_no_cache_and_on_the_dearer_of_both_prices() {
    let cached = Units { tokens_in: 1_000, tokens_cached: 1_000, ..Units::default() };
    let cheaper = read(json!({"input": 1, "cached_input": 0.25}));
    assert_eq!((cheaper.hold(&cached), cheaper.charge(&cached)), (Micro(1_000_000), Micro(250_000)));
    // Not a price that anybody may store; were it there, a hold would cover it.
    let dearer = ModelPrice { cached_input_per_1k_micro: Some(2_000_000), ..ModelPrice::flat(1_000_000) };
    assert_eq!((dearer.hold(&cached), dearer.charge(&cached)), (Micro(2_000_000), Micro(2_000_000)));
}

#[test]
fn what_is_no_price_is_refused() {
    for wrong in [
        json!("0.5"),
        json!(-1),
        json!(1_001),
        json!(0.000_000_4),
        json!(null),
        json!([1]),
        json!({}),
        json!({"input": "x"}),
        json!({"output": 1}),
        json!({"cached_input": 1}),
        json!({"input": 1, "cached_input": 2}),
        json!({"input": 1, "out": 2}),
        json!({"input": 1, "per_minute": -2}),
    ] {
        let expected = ModelPrice::from_json(&wrong).unwrap_err();
        assert!(expected.contains("`input`"), "{wrong}: {expected}");
    }
    assert_eq!(
        read(json!({"input": 0.5})),
        ModelPrice::flat(500_000),
        "a half that is left out is not for nothing"
    );
}

#[test]
fn tables_are_bounded_and_whole() {
    let table =
        PriceTable::from_json(&json!({"default": 0.05, "models": {"big": {"input": 1, "output": 3}}}))
            .unwrap();
    assert_eq!(table.price_of("big").output_per_1k_micro, 3_000_000);
    assert_eq!(table.price_of("other"), ModelPrice::flat(50_000));
    for wrong in [
        json!({"models": {}}),
        json!({"default": 0.05, "model": {}}),
        json!({"default": 0.05, "models": []}),
        json!({"default": 0.05, "models": {"": 1}}),
        json!({"default": 0.05, "models": {"a b": 1}}),
        json!({"default": 0.05, "models": {"m": "dear"}}),
        json!(0.05),
    ] {
        assert!(PriceTable::from_json(&wrong).is_err(), "{wrong}");
    }
    let many = |count: usize| {
        let models: Map<String, Value> = (0..count).map(|n| (format!("m{n}"), json!(1))).collect();
        PriceTable::models_from_json(&Value::Object(models))
    };
    assert!(many(PriceTable::MODELS_MAX).is_ok() && many(PriceTable::MODELS_MAX + 1).is_err());
    let long = |bytes: usize| PriceTable::models_from_json(&json!({ "m".repeat(bytes): 1 }));
    assert!(long(PriceTable::MODEL_BYTES_MAX).is_ok() && long(PriceTable::MODEL_BYTES_MAX + 1).is_err());
}

#[test]
fn a_table_is_within_bounds_when_all_of_it_is() {
    let price = ModelPrice::flat(7);
    let named = |name: String, price: ModelPrice| PriceTable {
        default: ModelPrice::flat(1),
        models: [(name, price)].into(),
    };
    let many = |count: usize| PriceTable {
        default: price,
        models: (0..count).map(|n| (format!("m{n}"), price)).collect(),
    };
    for right in [many(0), many(PriceTable::MODELS_MAX), named("m".to_owned(), price)] {
        assert!(right.is_within_bounds());
    }
    let dear = ModelPrice::flat(ModelPrice::PER_UNIT_MICRO_MAX + 1);
    for (wrong, why) in [
        (many(PriceTable::MODELS_MAX + 1), "one model more"),
        (PriceTable { default: dear, ..many(1) }, "a default that is too dear"),
        (PriceTable { default: dear, ..many(0) }, "the same without models"),
        (named("m".to_owned(), dear), "a model that is too dear"),
        (named("a b".to_owned(), price), "a name with a space"),
        (named(String::new(), price), "no name"),
    ] {
        assert!(!wrong.is_within_bounds(), "{why}");
    }
}

fn prices() -> impl Strategy<Value = ModelPrice> {
    let micro = || prop_oneof![Just(0_i64), 0_i64..2_000_000, 0..=ModelPrice::PER_UNIT_MICRO_MAX];
    (micro(), micro(), proptest::option::of(0_i64..=1_000), micro(), micro(), micro()).prop_map(
        |(input, output, cached_permille, characters, minute, image)| ModelPrice {
            input_per_1k_micro: input,
            output_per_1k_micro: output,
            cached_input_per_1k_micro: cached_permille.map(|permille| input * permille / 1_000),
            per_1k_characters_micro: characters,
            per_minute_micro: minute,
            per_image_micro: image,
        },
    )
}

fn units() -> impl Strategy<Value = Units> {
    let count = || prop_oneof![0_u64..5_000, any::<u64>()];
    (count(), count(), count(), count(), count(), count()).prop_map(
        |(tokens_in, tokens_cached, tokens_out, characters, milliseconds, images)| Units {
            tokens_in,
            tokens_cached: tokens_cached.min(tokens_in),
            tokens_out,
            characters,
            milliseconds,
            images,
        },
    )
}

proptest! {
    #[test]
    fn a_hold_covers_every_charge_within_its_units(price in prices(), held in units(), used in units()) {
        let used = Units {
            tokens_in: used.tokens_in.min(held.tokens_in),
            tokens_cached: used.tokens_cached,
            tokens_out: used.tokens_out.min(held.tokens_out),
            characters: used.characters.min(held.characters),
            milliseconds: used.milliseconds.min(held.milliseconds),
            images: used.images.min(held.images),
        };
        prop_assert!(price.hold(&held) >= price.charge(&used));
    }

    #[test]
    fn more_units_never_cost_less(price in prices(), a in units(), b in units()) {
        let more = Units {
            tokens_in: a.tokens_in.max(b.tokens_in),
            // A token from a cache is never dearer, so of these it is fewer that cost more.
            tokens_cached: a.tokens_cached.min(b.tokens_cached),
            tokens_out: a.tokens_out.max(b.tokens_out),
            characters: a.characters.max(b.characters),
            milliseconds: a.milliseconds.max(b.milliseconds),
            images: a.images.max(b.images),
        };
        prop_assert!(price.charge(&more) >= price.charge(&a));
        prop_assert!(price.hold(&more) >= price.hold(&b));
    }

    #[test]
    fn one_price_for_all_tokens_is_the_sum_at_that_price(micro in 0_i64..=1_000_000_000, used in units()) {
        // The charge as it always was: tokens x micro / 1,000 is micro-credits, a thousand of which are a step.
        let tokens = u128::from(used.tokens_in) + u128::from(used.tokens_out);
        let steps = (tokens * u128::from(micro.unsigned_abs()) + 500_000) / 1_000_000;
        let expected = i64::try_from(steps * 1_000).map_or(Micro::MAX, |micro| Micro(micro).min(Micro::MAX));
        let only_tokens = Units { characters: 0, milliseconds: 0, images: 0, ..used };
        prop_assert_eq!(ModelPrice::flat(micro).charge(&only_tokens), expected);
    }

    #[test]
    fn what_is_affordable_is_covered_and_no_more_would_be(
        price in prices(), limit in 1_i64..1_000_000_000, prompt in 0_u64..10_000,
    ) {
        let (limit, prompt) = (Micro(limit), Units::tokens(prompt, 0));
        let hold = |tokens_out: u64| price.hold(&Units { tokens_out, ..prompt });
        let affordable = price.affordable_tokens_out(limit, &prompt);
        let asked = price.affordable_tokens_out(limit, &Units { tokens_out: 1_000, ..prompt });
        prop_assert_eq!(asked, affordable, "whatever answer was asked for");
        match affordable {
            None => prop_assert!(hold(0) > limit),
            Some(u64::MAX) => prop_assert!(hold(u64::MAX) <= limit),
            Some(tokens) => prop_assert!(hold(tokens) <= limit && hold(tokens + 1) > limit),
        }
    }

    #[test]
    fn prices_read_what_they_write(price in prices(), others in proptest::collection::btree_map("[a-z]{1,8}", prices(), 0..4)) {
        prop_assert_eq!(ModelPrice::from_json(&price.to_json()), Ok(price));
        let table = PriceTable { default: price, models: others };
        prop_assert_eq!(PriceTable::from_json(&table.to_json()), Ok(table.clone()));
        let stored = serde_json::to_string(&table).unwrap();
        prop_assert_eq!(serde_json::from_str::<PriceTable>(&stored).unwrap(), table);
    }

    #[test]
    fn a_multiple_is_a_price_too(price in prices(), permille in 0_u32..=100_000) {
        prop_assert!(price.times(permille).is_within_bounds());
        prop_assert_eq!(price.times(1_000), price);
    }
}
