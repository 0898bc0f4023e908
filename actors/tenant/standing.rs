//! Where a tenant stands: what is left of its budgets and its credit. It goes with every answer to a metered command
//! that does not say so itself: refusals, replays, and reports of usage.

use serde::{Deserialize, Serialize};

use super::limits::LimitsRow;
use super::unopened::before_opening;
use super::{Actor, Command, JobCommand, Policy, Reply};
use crate::credits::{self, Account};
use crate::rate::{self, BudgetLeft, Meters};
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub budgets: Vec<BudgetLeft>,
    /// All that was ever granted, less what expired.
    pub granted: Micro,
    pub available: Micro,
}

/// Whether an answer is to say where the tenant stands.
#[must_use]
pub fn wants_standing(is_metered: bool, answer: &Result<Reply, Refusal>) -> bool {
    let faulty = matches!(
        answer,
        Err(Refusal::Storage { .. }
            | Refusal::Broken { .. }
            | Refusal::TenantMismatch
            | Refusal::UnknownApiKey)
    );
    is_metered && !faulty && !matches!(answer, Ok(Reply::Admitted(_)))
}

impl Command {
    /// Whether it counts against budgets.
    #[must_use]
    pub fn is_metered(&self) -> bool {
        match self {
            Self::Jobs(asked) => matches!(**asked, JobCommand::Create { .. }),
            _ => matches!(self, Self::Admit(_) | Self::RecordUsage { .. } | Self::Count),
        }
    }
}

/// Where an opened tenant stands, and the key a request came with.
///
/// # Errors
/// What the database refused.
pub fn standing(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    api_key: Option<&str>,
    now_ms: i64,
) -> Result<Standing, Refusal> {
    let limits = LimitsRow::load(sql, actor)?;
    let account = Account::view_at(sql, now_ms)?;
    let own = limits.effective(policy, &actor.tenant);
    let meters = &limits.counters.meters;
    let mut budgets = rate::left(meters, &own, None, i64::from(limits.in_flight(&account)), now_ms);
    if let Some((key, of_key)) = api_key.and_then(|key| Some((key, limits.settings.keys.get(key)?))) {
        let in_flight = if of_key.in_flight.is_some() { credits::open_of_key(sql, key)? } else { 0 };
        budgets.extend(rate::left(meters, of_key, Some(key), in_flight, now_ms));
    }
    Ok(Standing { budgets, granted: account.granted, available: account.available })
}

/// Where a tenant stands that was never opened: with all that opening would bring.
#[must_use]
pub fn standing_unopened(tenant: &TenantId, policy: &Policy, now_ms: i64) -> Standing {
    let budgets = rate::left(&Meters::new(), &policy.plan(tenant, None), None, 0, now_ms);
    let account = before_opening(tenant, policy, now_ms);
    Standing { budgets, granted: account.granted, available: account.available }
}
