//! What was answered, against what the model says.

use actors::credits::{Account as AccountReply, HoldEnd as HoldEndReply};
use actors::rate::BudgetLeft;
use actors::shared::Refusal;
use actors::tenant::Reply;

use super::{holds, same};
use crate::command::{MODELS, reply_text, usage_id};
use crate::model::{Account, Answer, BudgetShown, Ended, Given, HoldEnd};

/// Compares what was said with what was expected. Nothing but an injected fault may break or fail.
pub fn compare(said: &Result<Reply, Refusal>, expected: &Result<Answer, Refusal>) -> Result<(), String> {
    match (said, expected) {
        (Ok(reply), Ok(answer)) => compare_reply(reply, answer),
        (Err(Refusal::InvalidSetting { field, .. }), Err(Refusal::InvalidSetting { field: wanted, .. })) => {
            same("the field of a refused setting", field, wanted)
        }
        (Err(refusal), Err(wanted)) => same("refusal", refusal, wanted),
        (said, expected) => Err(format!("answered {said:?}, expected {expected:?}")),
    }
}

fn compare_reply(reply: &Reply, answer: &Answer) -> Result<(), String> {
    match (reply, answer) {
        (
            Reply::Adjusted { adjusted, replayed },
            Answer::Adjusted { account, shortfall, replayed: again },
        ) => {
            same("replayed", replayed, again)?;
            same("shortfall of an adjustment", &adjusted.shortfall.0, shortfall)?;
            same("account after an adjustment", &account_of(&adjusted.account), account)
        }
        (Reply::Admitted(found), Answer::Admitted { available, granted, deadline_ms, models, budgets }) => {
            same(
                "an admission",
                &(found.available.0, found.granted.0, found.deadline_ms),
                &(*available, *granted, *deadline_ms),
            )?;
            let allowed = MODELS.iter().enumerate().filter(|(at, _)| models & (1 << at) != 0);
            let allowed: Vec<&str> = allowed.map(|(_, name)| *name).collect();
            same("models that may answer", &found.models.iter().map(String::as_str).collect(), &allowed)?;
            same("budgets", &budgets_of(&found.budgets), budgets)
        }
        (Reply::Refused(refusal), Answer::Refused(wanted)) => same("refusal", refusal, wanted),
        (Reply::Replay(stored), Answer::Replay(Given::Settled { hold, charged, available, reply })) => {
            same(
                "a replay's charge and balance",
                &(stored.charged.0, stored.available.0),
                &(*charged, *available),
            )?;
            let given = if *reply { reply_text(*hold) } else { "null".to_owned() };
            same("the reply given again", &stored.reply.get(), &given.as_str())
        }
        (Reply::Progressed(found), Answer::Progressed { charged, held, available, deadline_ms }) => {
            let found = (found.charged.0, found.held.0, found.available.0, found.deadline_ms);
            same("progress", &found, &(*charged, *held, *available, *deadline_ms))
        }
        (Reply::Ended(found), Answer::Ended(ended)) => {
            let end = match found.end {
                HoldEndReply::Settled => HoldEnd::Settled,
                HoldEndReply::Released => HoldEnd::Released,
                HoldEndReply::Expired => HoldEnd::Expired,
            };
            let (charged, shortfall, available) = (found.charged.0, found.shortfall.0, found.available.0);
            same(
                "the end of a hold",
                &Ended { end, charged, shortfall, available, first: found.first },
                ended,
            )
        }
        (
            Reply::Recorded { event, replayed },
            Answer::Recorded { id, created_at_ms, seq, cost, replayed: again },
        ) => {
            let found = (
                event.id.clone(),
                event.created_at_ms,
                event.seq,
                event.cost_micro.map(|cost| cost.0),
                *replayed,
            );
            same("a client's event", &found, &(usage_id(*id), *created_at_ms, *seq, *cost, *again))
        }
        (Reply::Jobs(reply), answer) => super::jobs::compare(reply, answer),
        _ => compare_question(reply, answer),
    }
}

fn compare_question(reply: &Reply, answer: &Answer) -> Result<(), String> {
    match (reply, answer) {
        (Reply::Balance(found), Answer::Balance(account)) => same("balance", &account_of(found), account),
        (Reply::BalanceAt(found), Answer::Entry(entry)) => {
            let found = (found.seq, found.available_micro.0, found.held_micro.0);
            same("balance at an entry", &found, &(entry.seq, entry.available, entry.held))
        }
        (Reply::Usage(page), Answer::Count(count)) => same("usage listed", &page.items.len(), count),
        (Reply::Entries(page), Answer::Count(count)) => same("entries listed", &page.items.len(), count),
        (Reply::Holds(page), Answer::Count(count)) => same("holds listed", &page.items.len(), count),
        (Reply::Notices(page), Answer::Count(count)) => same("notices listed", &page.items.len(), count),
        (Reply::Limits(report), Answer::Limits(budgets)) => {
            same("budgets", &budgets_of(&report.budgets), budgets)
        }
        (Reply::Verified(found), Answer::Verified { entries }) => {
            holds(found.problems.is_empty(), || format!("verify found {:?}", found.problems))?;
            same("verified entries", &(found.entries, found.complete), &(*entries, true))
        }
        _ => Err(format!("answered {reply:?}, expected {answer:?}")),
    }
}

fn account_of(account: &AccountReply) -> Account {
    Account {
        available: account.available.0,
        held: account.held.0,
        granted: account.granted.0,
        settled: account.settled.0,
        open: i64::from(account.holds_open),
        next_seq: account.next_seq,
        updated_at_ms: account.updated_at_ms,
    }
}

fn budgets_of(budgets: &[BudgetLeft]) -> Vec<BudgetShown> {
    let shown = budgets.iter().map(|left| BudgetShown {
        policy: left.policy.clone(),
        limit: left.limit,
        remaining: left.remaining,
        window_ms: left.window_ms,
        reset_ms: left.reset_ms,
    });
    shown.collect()
}
