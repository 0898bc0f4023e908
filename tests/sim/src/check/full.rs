//! Everything, row by row: too much for every step, so every few steps and at the end.

use actors::sql::Sql;
use actors::sqlite::Sqlite;
use serde_json::Value;

use super::{holds, same};
use crate::command::{hold_id, reply_text, usage_id};
use crate::model::{Given, HoldEnd, Model, NoticeState};

fn rows<T: serde::de::DeserializeOwned>(database: &mut Sqlite, query: &str) -> Result<T, String> {
    let text = database.text(query, &[]).map_err(|error| error.to_string())?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

pub fn check(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    check_holds(database, model)?;
    check_usage(database, model)?;
    check_keys(database, model)?;
    check_notices(database, model)?;
    super::jobs::check_rows(database, model)?;
    check_counters(database, model)
}

/// What must be there once only; at the end, since it stays there.
pub fn check_unique(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let twice: Vec<String> = rows(
        database,
        "SELECT json_group_array(operation) FROM (SELECT operation FROM entries
           GROUP BY operation HAVING COUNT(*) > 1)",
    )?;
    let own: Vec<String> = rows(
        database,
        "SELECT json_group_array(id) FROM (SELECT id FROM usage_events WHERE by_client = 0
           GROUP BY id HAVING COUNT(*) > 1)",
    )?;
    // An id that was forgotten, and came again after all that time, is another request.
    let again = |id: &str| {
        let requests = model.history.admissions.iter().filter(|known| !known.growth);
        let admitted = requests.filter_map(|known| known.hold);
        admitted.filter(|hold| hold_id(*hold) == id.trim_end_matches("-late")).count() > 1
    };
    let twice: Vec<String> = twice.into_iter().filter(|id| !again(id)).collect();
    holds(twice.is_empty(), || format!("operations that were carried out twice: {twice:?}"))?;
    let own: Vec<String> = own.into_iter().filter(|id| !again(id)).collect();
    holds(own.is_empty(), || format!("requests with two usage events: {own:?}"))
}

type HoldRow = (String, String, i64, i64, i64, Vec<(i64, i64)>, i64, i64, Option<i64>);

fn check_holds(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let found: Vec<HoldRow> = rows(
        database,
        "SELECT json_group_array(json_array(id, state, amount_micro, charged_micro, shortfall_micro, json(parts),
           created_at_ms, deadline_ms, forget_at_ms)) FROM (SELECT * FROM holds ORDER BY id)",
    )?;
    let mut expected: Vec<&crate::model::Hold> = model.state.holds.iter().collect();
    expected.sort_by_key(|hold| hold_id(hold.id));
    same("holds", &found.len(), &expected.len())?;
    for (row, hold) in found.into_iter().zip(expected) {
        let state = match hold.end {
            None => "open",
            Some(HoldEnd::Settled) => "settled",
            Some(HoldEnd::Released) => "released",
            Some(HoldEnd::Expired) => "expired",
        };
        let forget = hold.end.map(|_| hold.forget_at_ms);
        let wanted: HoldRow = (
            hold_id(hold.id),
            state.to_owned(),
            hold.amount,
            hold.charged,
            hold.shortfall,
            hold.parts.clone(),
            hold.created_at_ms,
            hold.deadline_ms,
            forget,
        );
        same("a hold", &row, &wanted)?;
    }
    Ok(())
}

fn check_usage(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let found: Vec<(i64, i64, String, Option<i64>, i64, i64)> = rows(
        database,
        "SELECT json_group_array(json_array(created_at_ms, seq, id, cost_micro, by_client,
           COALESCE(tokens_in, 0) + COALESCE(tokens_out, 0)))
         FROM (SELECT * FROM usage_events ORDER BY seq)",
    )?;
    same("usage events", &found.len(), &model.logs.usage.len())?;
    for (row, known) in found.into_iter().zip(&model.logs.usage) {
        let late = if known.late { "-late" } else { "" };
        let id = if known.by_client { usage_id(known.id) } else { hold_id(known.id) + late };
        same(
            "a usage event",
            &row,
            &(known.created_at_ms, known.seq, id, known.cost, i64::from(known.by_client), known.tokens),
        )?;
    }
    Ok(())
}

fn check_keys(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let found: Vec<(String, Option<String>, Option<Value>)> = rows(
        database,
        "SELECT json_group_array(json_array(body_hash, hold, json(reply))) FROM
           (SELECT * FROM idempotency ORDER BY expires_at_ms, key)",
    )?;
    let taken: i64 = rows(database, "SELECT keys_taken FROM actor")?;
    same("keys by the counter", &taken, &i64::try_from(found.len()).unwrap())?;
    for row in &model.state.keys {
        let hold = row.hold.map(hold_id);
        let reply = row.given.map(|at| model.logs.given[at]);
        let there = found.iter().any(|(_, owner, stored)| {
            let fits = match (&reply, stored) {
                (None, None) => true,
                (Some(Given::Settled { hold, charged, available, reply }), Some(stored)) => {
                    let given: Option<Value> =
                        reply.then(|| serde_json::from_str(&reply_text(*hold)).unwrap());
                    stored["charged"] == *charged
                        && stored["available"] == *available
                        && stored["reply"] == given.unwrap_or(Value::Null)
                }
                (Some(_), Some(_)) => true,
                _ => false,
            };
            *owner == hold && fits
        });
        holds(there, || format!("a key is not remembered: {row:?}, {reply:?}"))?;
    }
    Ok(())
}

fn check_notices(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let found: Vec<(i64, i64, String, String, u32, Option<i64>)> = rows(
        database,
        "SELECT json_group_array(json_array(seq, at_ms, kind, state, attempts, next_at_ms))
         FROM (SELECT * FROM notices ORDER BY seq)",
    )?;
    same("notices", &found.len(), &model.state.notices.len())?;
    for (row, notice) in found.into_iter().zip(&model.state.notices) {
        let state = match notice.state {
            NoticeState::Recorded => "recorded",
            NoticeState::Pending => "pending",
            NoticeState::Delivered => "delivered",
            NoticeState::Failed => "failed",
        };
        let wanted = (
            notice.seq,
            notice.at_ms,
            notice.kind.to_owned(),
            state.to_owned(),
            notice.attempts,
            notice.next_at_ms,
        );
        same("a notice", &row, &wanted)?;
    }
    Ok(())
}

/// What caps counted, and how full meters are.
pub fn check_counters(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let counters: Value = rows(database, "SELECT counters FROM limits")?;
    let number = |value: &Value, name: &str| value[name].as_i64().unwrap_or(0);
    let caps: Vec<[i64; 3]> = counters["caps"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|cap| ["period_start_ms", "spent_micro", "held_micro"].map(|name| number(cap, name)))
        .collect();
    let wanted: Vec<[i64; 3]> =
        model.state.caps.iter().map(|cap| [cap.period_start_ms, cap.spent, cap.held]).collect();
    same("caps", &caps, &wanted)?;
    for (scope, meters) in model.state.meters.iter().enumerate() {
        for (at, meter) in meters.iter().enumerate() {
            let (budget, window_ms) =
                [("requests", 60_000), ("tokens", 60_000), ("credits-per-day", 86_400_000)][at];
            let name = if scope == 0 { budget.to_owned() } else { format!("{budget}@key-{}", scope - 1) };
            let found = &counters["meters"][&name];
            let level = i128::from(number(found, "level")) * window_ms + i128::from(number(found, "rest"));
            same(
                &format!("meter {name}"),
                &(level, number(found, "clock_ms")),
                &(meter.level, meter.clock_ms),
            )?;
        }
    }
    Ok(())
}
