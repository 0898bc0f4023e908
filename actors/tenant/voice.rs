//! Voice sessions in the tenant's one database: each is opened together with its ticket, where there is credit for a
//! turn.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::due::batched;
use super::handle::{At, woken};
use super::unopened::before_opening;
use super::{Actor, Call, Outcome, Policy, Reply};
use crate::credits::Account;
use crate::keys;
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;
use crate::tickets::{self, NewTicket, Presented};
use crate::voice_slots::{self, Page};

/// What can be asked about voice sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceCommand {
    /// Adds a session, and the ticket for its first socket where it has one. `need` is what one turn of it can cost: who
    /// has less need not begin.
    Open {
        session: String,
        need: Micro,
        ticket: Option<NewTicket>,
    },
    /// The session is over.
    Ended {
        session: String,
    },
    /// Takes the ticket of whoever has it: the call's `tenant` is not looked at.
    Redeem(Presented),
    SetPrefs {
        prefs: Value,
    },
    Prefs,
    List {
        limit: u32,
        cursor: Option<String>,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceReply {
    Opened {
        /// When its ticket is over; none when there is none.
        expires_at_ms: Option<i64>,
    },
    Ended,
    Redeemed {
        tenant: TenantId,
    },
    Prefs(Value),
    Page(Page),
}

impl VoiceCommand {
    /// What it is called in a log line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open_voice_session",
            Self::Ended { .. } => "end_voice_session",
            Self::Redeem(_) => "redeem_ticket",
            Self::SetPrefs { .. } => "set_voice_prefs",
            Self::Prefs => "voice_prefs",
            Self::List { .. } => "list_voice_sessions",
        }
    }

    /// Whether it is about work that was begun before.
    pub(super) const fn ends_work(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    pub(super) const fn changes(&self) -> bool {
        !matches!(self, Self::Prefs | Self::List { .. })
    }
}

fn replied(reply: VoiceReply) -> Reply {
    Reply::Voice(Box::new(reply))
}

/// What is answered before the tenant's first change.
///
/// # Errors
/// `InsufficientCredits`, `InvalidCursor`, `UnknownTicket`.
pub(super) fn unopened(
    asked: &VoiceCommand,
    call: &Call,
    policy: &Policy,
    now_ms: i64,
) -> Result<Option<Reply>, Refusal> {
    Ok(match asked {
        VoiceCommand::Open { need, .. } => {
            enough(before_opening(&call.tenant, policy, now_ms).available, *need, now_ms)?;
            None
        }
        VoiceCommand::Ended { .. } => Some(replied(VoiceReply::Ended)),
        VoiceCommand::Redeem(_) => return Err(Refusal::UnknownTicket),
        VoiceCommand::List { cursor: Some(_), .. } => return Err(Refusal::InvalidCursor),
        VoiceCommand::List { .. } => Some(replied(VoiceReply::Page(Page::default()))),
        VoiceCommand::Prefs => Some(replied(VoiceReply::Prefs(Value::Object(serde_json::Map::new())))),
        VoiceCommand::SetPrefs { .. } => None,
    })
}

fn enough(available: Micro, needed: Micro, updated_at_ms: i64) -> Result<(), Refusal> {
    if available < needed {
        return Err(Refusal::InsufficientCredits { available, needed, updated_at_ms });
    }
    Ok(())
}

/// Whoever has the ticket of a session opens its first socket.
///
/// # Errors
/// `UnknownTicket`; `UnknownApiKey` when the key that asked for it opens nothing any more; `Quarantined`.
pub(super) fn redeem(
    sql: &mut impl Sql,
    actor: &Actor,
    shown: &Presented,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    if actor.quarantined {
        return Err(Refusal::Quarantined);
    }
    let redeemed = tickets::redeem(sql, shown, now_ms)?;
    if let Some(id) = &redeemed.api_key {
        keys::check(sql, id, now_ms)?;
    }
    woken(replied(VoiceReply::Redeemed { tenant: actor.tenant.clone() }), i64::MAX)
}

/// # Errors
/// `InvalidCursor`.
pub(super) fn answer(
    sql: &mut impl Sql,
    tenant: &TenantId,
    asked: VoiceCommand,
    now_ms: i64,
) -> Result<Reply, Refusal> {
    Ok(replied(match asked {
        VoiceCommand::Prefs => VoiceReply::Prefs(voice_slots::prefs(sql)?),
        VoiceCommand::List { limit, cursor } => {
            VoiceReply::Page(voice_slots::list(sql, tenant, limit, cursor.as_deref(), now_ms)?)
        }
        _ => return Err(Refusal::Storage { detail: "a change among the questions".to_owned() }),
    }))
}

impl At<'_> {
    pub(super) fn voice(
        self,
        sql: &mut impl Sql,
        asked: VoiceCommand,
        api_key: Option<&str>,
    ) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        let (reply, due_ms) = match asked {
            VoiceCommand::Open { session, need, ticket } => {
                // Opening costs nothing, so the budget of requests is what slows a client down.
                self.count_one(sql)?;
                let account = Account::view_at(sql, now_ms)?;
                enough(account.available, need, account.updated_at_ms)?;
                voice_slots::open(sql, &session, api_key, now_ms)?;
                let ticket = ticket.map(|ticket| tickets::mint(sql, &ticket, api_key, now_ms));
                let expires_at_ms = ticket.transpose()?;
                (VoiceReply::Opened { expires_at_ms }, expires_at_ms.map_or(i64::MAX, batched))
            }
            VoiceCommand::Ended { session } => {
                voice_slots::ended(sql, &session, now_ms)?;
                (VoiceReply::Ended, i64::MAX)
            }
            VoiceCommand::SetPrefs { prefs } => {
                self.count_one(sql)?;
                voice_slots::set_prefs(sql, &prefs)?;
                (VoiceReply::Prefs(prefs), i64::MAX)
            }
            VoiceCommand::Redeem(_) | VoiceCommand::Prefs | VoiceCommand::List { .. } => {
                return Err(Refusal::Storage { detail: "a question among the changes".to_owned() });
            }
        };
        woken(replied(reply), due_ms)
    }
}
