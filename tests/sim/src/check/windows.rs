//! Promises about requests that were admitted: sliding windows, requests in flight, caps, and whose credit pays.

use super::holds;
use crate::command::Admit;
use crate::model::{Model, caps_count};

/// What was admitted within a window of real time is within the limit: by true weights where they are known.
pub fn check_window(model: &Model) -> Result<(), String> {
    let history = &model.history;
    let (Some(last), Some(stamps)) = (history.admissions.last(), history.stamps.last()) else {
        return Ok(());
    };
    for (scope, budgets) in history.budgets.iter().enumerate() {
        let of_scope = |key: Option<u8>| scope == 0 || key.is_some_and(|key| usize::from(key) + 1 == scope);
        if !of_scope(last.api_key) {
            continue;
        }
        for (at, budget) in budgets.iter().enumerate() {
            let Some(budget) = budget else { continue };
            let after_ms = stamps[scope][at] - budget.window_ms;
            let from = history.since[scope][at];
            let inside = history.admissions.iter().zip(&history.stamps).skip(from).rev();
            let inside = inside.take_while(|(_, stamps)| stamps[scope][at] > after_ms);
            let inside = inside.filter(|(admission, _)| of_scope(admission.api_key));
            let sum: i64 = inside.map(|(admission, _)| admission.weights[at]).sum();
            let limit = budget.limit;
            holds(sum <= limit, || {
                format!("budget {at} of scope {scope}: {sum} in one window, {limit} allowed")
            })?;
        }
    }
    Ok(())
}

/// What must be true right after `asked` was admitted.
pub fn check_admission(model: &Model, asked: &Admit, now_ms: i64) -> Result<(), String> {
    let state = &model.state;
    let hold = &state.holds[state.hold(asked.hold).ok_or("an admitted hold is not there")?];
    for (grant, _) in &hold.parts {
        let grant = state.grants.iter().find(|known| known.id == *grant).ok_or("a hold is of no grant")?;
        let live = grant.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms);
        holds(live, || format!("the expired grant {} pays for a hold", grant.id))?;
    }
    for (cap, terms) in state.caps.iter().zip(&state.settings.caps) {
        if !caps_count(terms, hold.api_key, hold.models) {
            continue;
        }
        let of_cap = state.open_holds().filter(|hold| caps_count(terms, hold.api_key, hold.models));
        let held: i64 = of_cap.map(crate::model::Hold::held).sum();
        let (spent, limit) = (cap.spent, terms.limit.0);
        holds(spent + held <= limit, || {
            format!("cap {}: {spent} spent and {held} held, {limit} allowed", terms.id)
        })?;
    }
    check_window(model)
}
