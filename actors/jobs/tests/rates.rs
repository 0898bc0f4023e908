//! Rates, held against a count of every event that was told.

use proptest::prelude::*;

use super::*;

impl Shop {
    fn rates(&mut self) -> Vec<Rates> {
        match self.job(JobCommand::Stats).unwrap() {
            JobReply::Stats(stats) => stats.rates,
            other => panic!("{other:?}"),
        }
    }

    /// How often `what` was told of a type since `since_ms`, by the rows themselves.
    fn told_since(&mut self, kind: &str, what: Option<&[&str]>, since_ms: i64) -> u32 {
        let of =
            what.map_or("event IS NULL".to_owned(), |names| format!("event IN ('{}')", names.join("', '")));
        let query = format!(
            "SELECT COUNT(*) FROM (SELECT at_ms, body ->> '$.type' AS kind, body ->> '$.event' AS event
               FROM job_events) WHERE kind = '{kind}' AND {of} AND at_ms > {since_ms}"
        );
        u32::try_from(self.number(&query)).unwrap()
    }
}

const ENDS: [(&str, Option<&[&str]>); 6] = [
    ("made", None),
    ("started", Some(&["lease", "take"])),
    ("retried", Some(&["retry"])),
    ("succeeded", Some(&["complete", "finish"])),
    ("failed", Some(&["die", "expire", "give_up"])),
    ("cancelled", Some(&["cancel"])),
];

fn counted(counts: &TypeCounts, name: &str) -> u32 {
    let value = serde_json::to_value(counts).unwrap();
    u32::try_from(value[name].as_u64().unwrap()).unwrap()
}

#[test]
fn what_happened_is_counted_in_its_minutes() {
    let mut shop = Shop::running(8);
    assert_eq!(shop.rates(), JobStats::default().rates, "before there was any");
    shop.make("a");
    shop.make("b");
    shop.create(NewJob { kind: "audio".to_owned(), ..new_job("c") }).unwrap();
    shop.now_ms += 59_999;
    let (job, epoch) = shop.got("w").unwrap();
    shop.complete(&job, epoch, 5).unwrap();
    let rates = shop.rates();
    let minutes: Vec<u32> = rates.iter().map(|rates| rates.minutes).collect();
    assert_eq!(minutes, RATE_MINUTES);
    let of_si = |rates: &[Rates], at: usize| rates[at].by_type.iter().find(|of| of.kind == "si").cloned();
    let all = TypeCounts { made: 2, started: 1, succeeded: 1, ..of_si(&rates, 0).unwrap() };
    assert_eq!(of_si(&rates, 0), Some(all.clone()));
    assert_eq!(rates[0].by_type.len(), 2, "each type by itself");
    // A millisecond later what was made is a minute ago.
    shop.now_ms += 1;
    let rates = shop.rates();
    assert_eq!(of_si(&rates, 0), Some(TypeCounts { made: 0, ..all.clone() }));
    assert_eq!(of_si(&rates, 1), Some(all));
    assert!(rates.iter().all(|rates| !rates.at_least));
    shop.now_ms += 900_000;
    assert_eq!(shop.rates(), JobStats::default().rates, "all of it was long ago");
}

#[test]
fn what_is_more_than_is_looked_at_is_said_to_be_at_least_so_much() {
    let mut shop = Shop::running(1);
    let jobs = RATE_EVENTS_MAX / 2;
    let make = |shop: &mut Shop, n: i64| {
        shop.make(&format!("j{n}"));
        shop.cancel(&format!("j{n}")).unwrap();
    };
    for n in 0..jobs {
        make(&mut shop, n);
    }
    let rates = shop.rates();
    let count = u32::try_from(jobs).unwrap();
    assert!(rates.iter().all(|rates| !rates.at_least && rates.by_type[0].made == count), "{rates:?}");
    shop.now_ms += 120_000;
    make(&mut shop, jobs);
    shop.now_ms += 10_000;
    let rates = shop.rates();
    let said: Vec<_> = rates.iter().map(|rates| (rates.at_least, rates.counted_ms)).collect();
    assert_eq!(said, [(false, 60_000), (true, 130_000), (true, 130_000)]);
    assert_eq!((rates[0].by_type[0].made, rates[1].by_type[0].made), (1, count), "one was pushed out");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_those_of_the_rows(steps in prop::collection::vec((0..8_u8, 0..70_000_i64), 1..60)) {
        let mut shop = Shop::running(4);
        make_tables(&mut shop.sql).unwrap();
        let mut leased: Vec<(String, i64)> = Vec::new();
        for (n, (what, ms)) in steps.into_iter().enumerate() {
            shop.now_ms += ms;
            match what {
                0..=2 => {
                    let kind = ["si", "audio"][n % 2].to_owned();
                    shop.create(NewJob { kind, ..new_job(&format!("j{n}")) }).unwrap();
                }
                3 => leased.extend(shop.got(&format!("w{n}"))),
                4 | 5 => {
                    let Some((job, epoch)) = leased.pop() else { continue };
                    let _stale = if what == 4 { shop.complete(&job, epoch, 1) } else { shop.fail(&job, epoch, "x") };
                }
                6 => drop(shop.cancel(&format!("j{}", n / 2))),
                _ => drop(shop.ring_in_time()),
            }
            for rates in shop.rates() {
                let since_ms = shop.now_ms - i64::from(rates.minutes) * 60_000;
                for kind in ["si", "audio"] {
                    let none = TypeCounts { kind: kind.to_owned(), ..TypeCounts::default() };
                    let counts = rates.by_type.iter().find(|of| of.kind == kind).cloned().unwrap_or(none);
                    for (name, what) in ENDS {
                        let expected = shop.told_since(kind, what, since_ms);
                        prop_assert_eq!(counted(&counts, name), expected, "{} of {} in {}", name, kind, rates.minutes);
                    }
                }
            }
        }
    }
}
