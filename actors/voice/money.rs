//! Money: a hold for each turn and for each stretch of attached time, before either spends, and one charge of each.
//!
//! The books are the tenant's. What is to be asked of them is a row here, written with what makes it necessary, and asked
//! again until it is answered: the name of a hold makes every repetition harmless. Nothing is charged that was not held.

use serde::{Deserialize, Serialize};

use super::command::{Action, Ask, Asked, TenantAnswer};
use super::event::Event;
use super::limits::{
    ASK_AGAIN_MS, ASK_AGAIN_MS_MAX, GRACE_MS, HOLD_TTL_MS, PERIOD_LEAD_MS, PERIOD_MS, TURN_MS_MAX,
};
use super::session::{Work, json};
use super::settings::Costs;
use super::turn::{State, Turn};
use crate::shared::{Micro, Refusal, Units};
use crate::sql::{Sql, SqlValue, row};

/// What a charge is for, for its row of usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    pub costs: Costs,
    pub attached_ms: i64,
    pub listened_ms: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub characters: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hold {
    n: i64,
    hold: String,
    turn: Option<i64>,
    from_ms: i64,
    to_ms: i64,
    ended_ms: Option<i64>,
    state: String,
    need: Costs,
    charge_micro: Micro,
    used: Used,
    tries: u32,
}

const HOLD: &str = "json_object('n', n, 'hold', hold, 'turn', turn, 'from_ms', from_ms, 'to_ms', to_ms,
  'ended_ms', ended_ms, 'state', state, 'need', json(need), 'charge_micro', charge_micro, 'used', json(used),
  'tries', tries)";

impl<S: Sql> Work<'_, S> {
    fn holds_where(&mut self, condition: &str, args: &[SqlValue]) -> Result<Vec<Hold>, Refusal> {
        let holds = format!(
            "SELECT json_group_array({HOLD}) FROM (SELECT * FROM holds WHERE {condition} ORDER BY n)"
        );
        let holds: Option<Vec<Hold>> = row(self.sql, &holds, args)?;
        Ok(holds.unwrap_or_default())
    }

    fn hold(&mut self, n: i64) -> Result<Option<Hold>, Refusal> {
        Ok(self.holds_where("n = ?1", &[n.into()])?.pop())
    }

    /// A new hold, that is asked for at once.
    fn new_hold(
        &mut self,
        name: &str,
        turn: Option<i64>,
        (from_ms, to_ms): (i64, i64),
        need: Costs,
    ) -> Result<(), Refusal> {
        let n = self.at.holds.saturating_add(1);
        self.at.holds = n;
        let values: [SqlValue; 7] = [
            n.into(),
            name.into(),
            turn.into(),
            from_ms.into(),
            to_ms.into(),
            json(&need)?.into(),
            need.sum().0.into(),
        ];
        self.sql.execute(
            "INSERT INTO holds (n, hold, turn, from_ms, to_ms, state, need, amount_micro)
             VALUES (?1, ?2, ?3, ?4, ?5, 'asked', ?6, ?7)",
            &values,
        )?;
        self.ask(n)
    }

    /// The most that a turn can cost is set aside when it begins to be listened to: long before it costs anything.
    pub(super) fn ask_for_turn(&mut self, turn: i64) -> Result<(), Refusal> {
        let settings = &self.opened.settings;
        let need = settings.prices.hold(&settings.bounds);
        let name = format!("{}-t{turn}", self.opened.session);
        self.new_hold(&name, Some(turn), (0, 0), need)
    }

    /// Has the tenant asked about a hold, and again some time later if it does not answer.
    fn ask(&mut self, n: i64) -> Result<(), Refusal> {
        let Some(hold) = self.hold(n)? else {
            return Ok(());
        };
        let what = match hold.state.as_str() {
            "asked" => Asked::Admit { need: hold.need, ttl_ms: HOLD_TTL_MS },
            "settling" if hold.used == Used::default() => Asked::Release,
            "settling" => Asked::Settle { charge: hold.charge_micro, used: hold.used },
            _ => return Ok(()),
        };
        let wait_ms = ASK_AGAIN_MS.saturating_mul(1 << hold.tries.min(10)).min(ASK_AGAIN_MS_MAX);
        let again_at_ms = self.now_ms.saturating_add(wait_ms);
        self.sql.execute(
            "UPDATE holds SET tries = tries + 1, again_at_ms = ?2 WHERE n = ?1",
            &[n.into(), again_at_ms.into()],
        )?;
        let (tenant, api_key) = (self.opened.tenant.clone(), self.opened.api_key.clone());
        self.act(Action::Ask(Ask { hold: hold.hold, tenant, api_key, turn: hold.turn, what }));
        Ok(())
    }

    /// Asks what was not answered: all of it when the host has lost what it asked.
    pub(super) fn ask_again(&mut self, all: bool) -> Result<(), Refusal> {
        let due_ms = if all { i64::MAX >> 11 } else { self.now_ms };
        let due =
            self.holds_where("state IN ('asked', 'settling') AND again_at_ms <= ?1", &[due_ms.into()])?;
        for hold in due {
            self.ask(hold.n)?;
        }
        Ok(())
    }

    pub(super) fn tenant_answered(&mut self, name: &str, answer: &TenantAnswer) -> Result<(), Refusal> {
        let Some(hold) = self.holds_where("hold = ?1", &[name.into()])?.pop() else {
            return Ok(());
        };
        match (answer, hold.state.as_str()) {
            (TenantAnswer::Granted { available }, "asked") => self.granted(&hold, *available),
            (TenantAnswer::Refused { .. }, "asked") => self.refused(&hold),
            // A hold that could not be made before it was over is over.
            (TenantAnswer::Ended, "asked" | "settling") => self.mark(hold.n, "settled", None),
            _ => Ok(()),
        }
    }

    fn mark(&mut self, n: i64, state: &str, again_at_ms: Option<i64>) -> Result<(), Refusal> {
        self.sql.execute(
            "UPDATE holds SET state = ?2, tries = 0, again_at_ms = ?3 WHERE n = ?1",
            &[n.into(), state.into(), again_at_ms.into()],
        )?;
        Ok(())
    }

    fn granted(&mut self, hold: &Hold, available: Micro) -> Result<(), Refusal> {
        // A turn that is never acknowledged is settled when its time is over.
        let by_ms = hold.turn.map(|_| self.now_ms.saturating_add(TURN_MS_MAX));
        self.mark(hold.n, "granted", by_ms)?;
        if hold.turn.is_none() && hold.ended_ms.is_some() {
            self.settle_period(hold.n)?;
        }
        let settings = &self.opened.settings;
        let low = available < settings.prices.hold(&settings.bounds).sum();
        if low && !self.at.low && !self.at.is_over() {
            self.push(None, Event::LowBalance { ends_in_ms: None })?;
        }
        self.at.low = low;
        Ok(())
    }

    /// The balance does not cover it: that is announced, and the session ends when what is paid for is done.
    fn refused(&mut self, hold: &Hold) -> Result<(), Refusal> {
        self.mark(hold.n, "refused", None)?;
        if self.at.is_over() || (hold.turn.is_none() && hold.ended_ms.is_some()) {
            return Ok(());
        }
        let ends_in_ms = match hold.turn {
            Some(_) => GRACE_MS,
            None => hold.from_ms.saturating_sub(self.at.lived_ms(self.now_ms)).clamp(0, GRACE_MS),
        };
        self.begin_ending("balance", ends_in_ms)
    }

    /// Nothing new is begun from now on.
    pub(super) fn begin_ending(&mut self, why: &str, in_ms: i64) -> Result<(), Refusal> {
        let by_ms = self.now_ms.saturating_add(in_ms);
        if self.at.ending.as_ref().is_some_and(|(_, known_ms)| *known_ms <= by_ms) {
            return Ok(());
        }
        self.at.ending = Some((why.to_owned(), by_ms));
        if why == "balance" {
            self.push(None, Event::LowBalance { ends_in_ms: Some(in_ms) })?;
        }
        if let Some(n) = self.at.listening {
            let turn = self.turn(n)?;
            self.fail(turn, "session_ending")?;
        }
        Ok(())
    }

    /// Attached time is held for in stretches of [`PERIOD_MS`], each before the one before it is over.
    pub(super) fn tend_periods(&mut self) -> Result<(), Refusal> {
        let is_free = self.opened.settings.prices.session.per_minute_micro == 0;
        if is_free || !self.at.attached {
            return Ok(());
        }
        let lived_ms = self.at.lived_ms(self.now_ms);
        self.at.covered_ms = self.at.covered_ms.max(self.at.attached_ms);
        let is_short = self.at.covered_ms.saturating_sub(lived_ms) <= PERIOD_LEAD_MS;
        if is_short && self.at.ending.is_none() {
            let from_ms = self.at.covered_ms;
            self.at.covered_ms = from_ms.saturating_add(PERIOD_MS);
            let session = self.opened.settings.prices.attached_hold(PERIOD_MS);
            let name = format!("{}-m{}", self.opened.session, self.at.holds.saturating_add(1));
            let need = Costs { session, ..Costs::default() };
            self.new_hold(&name, None, (from_ms, self.at.covered_ms), need)?;
        }
        let over = "turn IS NULL AND ended_ms IS NULL AND state IN ('asked', 'granted') AND to_ms <= ?1";
        for hold in self.holds_where(over, &[lived_ms.into()])? {
            let unpaid = hold.state == "asked";
            self.end_period(&hold, hold.to_ms)?;
            if unpaid {
                self.begin_ending("unpaid", 0)?;
            }
        }
        Ok(())
    }

    /// The socket is gone: what was attached is settled, and nothing is held until it comes back.
    pub(super) fn end_periods(&mut self) -> Result<(), Refusal> {
        let lived_ms = self.at.attached_ms;
        for hold in
            self.holds_where("turn IS NULL AND ended_ms IS NULL AND state IN ('asked', 'granted')", &[])?
        {
            self.end_period(&hold, lived_ms.clamp(hold.from_ms, hold.to_ms))?;
        }
        self.at.covered_ms = lived_ms;
        Ok(())
    }

    fn end_period(&mut self, hold: &Hold, ended_ms: i64) -> Result<(), Refusal> {
        self.sql.execute("UPDATE holds SET ended_ms = ?2 WHERE n = ?1", &[hold.n.into(), ended_ms.into()])?;
        if hold.state == "granted" { self.settle_period(hold.n) } else { Ok(()) }
    }

    fn settle_period(&mut self, n: i64) -> Result<(), Refusal> {
        let Some(hold) = self.hold(n)? else {
            return Ok(());
        };
        let ended_ms = hold.ended_ms.unwrap_or(hold.from_ms);
        let prices = self.opened.settings.prices;
        // Differences of one sum: however often the socket is lost, they add up to the charge of the whole.
        let due = prices.attached(ended_ms).0.saturating_sub(prices.attached(hold.from_ms).0);
        let session = Micro(due.clamp(0, hold.need.session.0));
        let attached_ms = ended_ms.saturating_sub(hold.from_ms);
        let used = Used { costs: Costs { session, ..Costs::default() }, attached_ms, ..Used::default() };
        self.settle(n, used)
    }

    fn settle(&mut self, n: i64, used: Used) -> Result<(), Refusal> {
        self.sql.execute(
            "UPDATE holds SET state = 'settling', charge_micro = ?2, used = ?3, tries = 0 WHERE n = ?1",
            &[n.into(), used.costs.sum().0.into(), json(&used)?.into()],
        )?;
        self.ask(n)
    }

    /// Settles the turns of which nothing is under way any more, neither to a provider nor to the client.
    pub(super) fn settle_turns(&mut self) -> Result<(), Refusal> {
        let ended = "state = 'granted' AND EXISTS (SELECT 1 FROM turns AS t
                       WHERE t.n = turn AND t.state IN ('done', 'interrupted', 'failed'))";
        for hold in self.holds_where(ended, &[])? {
            let Some(n) = hold.turn else { continue };
            let turn = self.turn(n)?;
            if self.may_settle(&turn)? {
                self.settle_turn(&hold, turn)?;
            }
        }
        Ok(())
    }

    fn may_settle(&mut self, turn: &Turn) -> Result<bool, Refusal> {
        let under_way =
            "SELECT COUNT(*) FROM provider_calls WHERE turn = ?1 AND state IN ('running', 'cancelling')";
        let under_way: Option<i64> = row(self.sql, under_way, &[turn.n.into()])?;
        if under_way.unwrap_or(0) > 0 {
            return Ok(false);
        }
        let waits = "SELECT 1 FROM down WHERE turn = ?1 AND samples > 0 LIMIT 1";
        let is_old = self.now_ms.saturating_sub(turn.began_at_ms) >= TURN_MS_MAX;
        Ok(is_old || self.sql.text(waits, &[turn.n.into()])?.is_none())
    }

    fn settle_turn(&mut self, hold: &Hold, mut turn: Turn) -> Result<(), Refusal> {
        let prices = self.opened.settings.prices;
        let heard =
            "SELECT COUNT(*) FROM provider_calls WHERE turn = ?1 AND stage = 'stt' AND state = 'done'";
        let heard: Option<i64> = row(self.sql, heard, &[turn.n.into()])?;
        let listened_ms = match heard {
            Some(1..) => u64::from(self.opened.settings.milliseconds(turn.listened)),
            _ => 0,
        };
        // Earlier attempts are the house's.
        let thought = "SELECT units FROM provider_calls WHERE turn = ?1 AND stage = 'llm'
                         AND state IN ('done', 'cancelled') ORDER BY attempt DESC LIMIT 1";
        let thought: Units = row(self.sql, thought, &[turn.n.into()])?.unwrap_or_default();
        let characters = self.charged_characters(&turn)?;
        let part = |charge: Micro, held: Micro| charge.min(held);
        let listening = prices.stt.charge(&prices.stt.units_of_sound(listened_ms));
        let speaking = prices.tts.charge(&prices.tts.units_of_characters(characters));
        let costs = Costs {
            session: Micro::ZERO,
            listening: part(listening, hold.need.listening),
            thinking: part(prices.llm.charge(&thought), hold.need.thinking),
            speaking: part(speaking, hold.need.speaking),
        };
        let Units { tokens_in, tokens_out, .. } = thought;
        let used = Used { costs, attached_ms: 0, listened_ms, tokens_in, tokens_out, characters };
        turn.used = Some(used);
        self.store_turn(&turn)?;
        self.settle(hold.n, used)
    }

    /// Turns that took too long fail, so that their holds outlive them.
    pub(super) fn end_late_turns(&mut self) -> Result<(), Refusal> {
        for under_way in self.under_way()? {
            let turn = self.turn(under_way.n)?;
            if self.now_ms.saturating_sub(turn.began_at_ms) >= TURN_MS_MAX {
                self.fail(turn, "too_long")?;
            }
        }
        Ok(())
    }

    /// What of each turn never reached the client, when it is known that it will not.
    pub(super) fn lose_undelivered(&mut self) -> Result<(), Refusal> {
        let waiting = "SELECT json_group_array(turn) FROM (SELECT DISTINCT turn FROM down WHERE samples > 0)";
        let waiting: Vec<i64> = row(self.sql, waiting, &[])?.unwrap_or_default();
        for n in waiting {
            let mut turn = self.turn(n)?;
            if turn.state != State::Interrupted {
                turn.lost = self.unacknowledged(n)?;
                self.store_turn(&turn)?;
            }
        }
        Ok(())
    }
}
