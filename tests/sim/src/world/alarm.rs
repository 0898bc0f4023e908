//! The alarm of an actor, the deliveries it hands out, and how they come back.

use actors::notices::Delivery;
use actors::tenant::{Effect, Rung};

use super::World;
use super::send::fault_name;
use crate::check::{self, holds, same};
use crate::model::delivery_wait_ms;
use crate::shell::effects_happen;
use crate::step::{Fault, Ring};

/// A schedule that waits for the alarm does not wait for days.
const WAIT_MAX_MS: i64 = 600_000;
/// Rings until nothing is open and nothing waits: deliveries come four at a time, forgetting once a minute.
const DRAIN_RINGS_MAX: u32 = 1_000;
/// A job that nobody works on is called for every five minutes until its deadline, which may be days ahead of a clock
/// that stepped back: after so many rings the next one comes when all deadlines are over.
const PATIENT_RINGS: u32 = 400;

/// A delivery on its way.
#[derive(Debug, Clone)]
pub struct Handed {
    pub seq: i64,
    pub attempt: u32,
    pub confirmed: bool,
}

impl World<'_> {
    pub(super) fn ring_as(&mut self, at: usize, ring: Ring, fault: Fault) -> Result<(), String> {
        if let (Ring::Due, Some(alarm_at_ms)) = (ring, self.tenants[at].shell.alarm_at_ms)
            && alarm_at_ms <= self.now_ms + WAIT_MAX_MS
        {
            self.now_ms = self.now_ms.max(alarm_at_ms);
        }
        let early = self.tenants[at].shell.alarm_at_ms.is_none_or(|alarm_at_ms| alarm_at_ms > self.now_ms);
        let late = self.tenants[at].shell.alarm_at_ms.is_some_and(|alarm_at_ms| alarm_at_ms < self.now_ms);
        self.ring(at, fault)?;
        self.tally.fault(if early {
            "alarm early"
        } else if late {
            "alarm late"
        } else {
            "alarm in time"
        });
        if ring == Ring::Twice {
            self.tally.fault("alarm twice");
            self.ring(at, Fault::None)?;
        }
        Ok(())
    }

    fn ring(&mut self, at: usize, fault: Fault) -> Result<(), String> {
        let now_ms = self.now_ms;
        let tenant = &mut self.tenants[at];
        let opened = tenant.model.state.opened;
        let attempts = |model: &crate::model::Model| -> Vec<(i64, u32)> {
            model.state.notices.iter().map(|notice| (notice.seq, notice.attempts)).collect()
        };
        let before = attempts(&tenant.model);
        let predicted = opened.then(|| tenant.model.predict_ring(now_ms));
        let done = tenant.shell.ring(now_ms, fault);
        if done.hit || !matches!(fault, Fault::None | Fault::Statement(_)) {
            self.tally.fault(fault_name(fault));
        }
        let said = match (done.said, predicted) {
            (None, Some(predicted)) => {
                tenant.model.undo(&predicted);
                return Ok(());
            }
            (None, None) => return Ok(()),
            (Some(said), predicted) => {
                self.committed = true;
                predicted.into_iter().for_each(|predicted| tenant.model.commit(predicted));
                said
            }
        };
        holds(!done.hit, || format!("an injected fault came out as {said:?}"))?;
        let rung = said.map_err(|refusal| format!("the alarm was refused: {refusal:?}"))?;
        if fault == Fault::CommitReportedFailed {
            tenant.shell.evict();
        }
        let Some(Rung { next_at_ms, effects }) = rung else {
            return holds(!opened, || "an opened actor is not there".to_owned());
        };
        same("when the alarm is to ring again", &next_at_ms, &tenant.model.due_at_ms())?;
        check::same("messages for workers", &super::send::nudges(&effects), &tenant.model.nudges())?;
        if effects_happen(fault) {
            tenant.messages.extend(&tenant.model.state.nudges);
        }
        let effects = effects.into_iter().filter(|effect| !matches!(effect, Effect::Nudge(_)));
        let deliveries: Vec<Delivery> = effects
            .map(|effect| match effect {
                Effect::Deliver(delivery) => Ok(delivery),
                other => Err(format!("an alarm asked for {other:?}")),
            })
            .collect::<Result<_, String>>()?;
        let mut found: Vec<(i64, u32)> = deliveries.iter().map(|given| (given.seq, given.attempt)).collect();
        found.sort_unstable();
        let expected: Vec<(i64, u32)> = attempts(&tenant.model)
            .into_iter()
            .filter(|notice| !before.contains(notice) && notice.1 > 0)
            .collect();
        same("deliveries", &found, &expected)?;
        if done.heard || fault == Fault::ReplyLost {
            self.hand_out(at, deliveries)?;
        }
        Ok(())
    }

    /// Deliveries leave the actor: an id stands for one notice for ever, and what was confirmed does not go again.
    fn hand_out(&mut self, at: usize, deliveries: Vec<Delivery>) -> Result<(), String> {
        let tenant = &mut self.tenants[at];
        let webhook = tenant.model.state.settings.webhook.as_ref();
        for delivery in deliveries {
            let to = webhook.map(|hook| (hook.url.as_str(), hook.secret.as_str()));
            same("where a delivery goes", &Some((delivery.url.as_str(), delivery.secret.as_str())), &to)?;
            let body =
                tenant.message_bodies.entry(delivery.id.clone()).or_insert_with(|| delivery.body.clone());
            same("what a delivery's id stands for", &delivery.body, body)?;
            let again = tenant.handed.iter().any(|known| known.seq == delivery.seq && known.confirmed);
            holds(!again, || format!("notice {} was confirmed and goes out again", delivery.seq))?;
            tenant.handed.push(Handed { seq: delivery.seq, attempt: delivery.attempt, confirmed: false });
            self.tally.check("deliveries handed out");
        }
        Ok(())
    }

    /// The shell reports how one of the deliveries went, at whatever time and however often.
    pub(super) fn deliver(
        &mut self,
        at: usize,
        delivery: u32,
        delivered: bool,
        again: bool,
        fault: Fault,
    ) -> Result<(), String> {
        let tenant = &mut self.tenants[at];
        let waiting = |handed: &super::Handed| !handed.confirmed || again;
        let picked: Vec<usize> = (0..tenant.handed.len()).filter(|at| waiting(&tenant.handed[*at])).collect();
        if picked.is_empty() {
            return Ok(());
        }
        let index = picked[picked.len() - 1 - delivery as usize % picked.len()];
        self.report_delivery(at, index, delivered, fault)
    }

    fn report_delivery(
        &mut self,
        at: usize,
        index: usize,
        delivered: bool,
        fault: Fault,
    ) -> Result<(), String> {
        let now_ms = self.now_ms;
        let tenant = &mut self.tenants[at];
        let Handed { seq, attempt, .. } = tenant.handed[index];
        let done = tenant.shell.note_attempt(seq, attempt, delivered, now_ms, fault);
        if done.hit || !matches!(fault, Fault::None | Fault::Statement(_)) {
            self.tally.fault(fault_name(fault));
        }
        let Some(said) = done.said else { return Ok(()) };
        holds(!done.hit, || format!("an injected fault came out as {said:?}"))?;
        self.committed = true;
        let due_ms = said.map_err(|refusal| format!("the report was refused: {refusal:?}"))?;
        if fault == Fault::CommitReportedFailed {
            tenant.shell.evict();
        }
        if let Some(notice) = tenant.model.note_attempt(seq, attempt, delivered) {
            let query = "SELECT next_at_ms FROM notices WHERE seq = ?1";
            let next = actors::sql::Sql::text(&mut tenant.shell.database, query, &[seq.into()]);
            let next_ms: i64 = next.ok().flatten().and_then(|text| text.parse().ok()).unwrap_or(0);
            let (least_ms, most_ms) = delivery_wait_ms(attempt);
            let in_bounds = (now_ms + least_ms..=now_ms + most_ms).contains(&next_ms);
            holds(in_bounds, || format!("the next attempt after {attempt} is at {next_ms}, now {now_ms}"))?;
            notice.next_at_ms = Some(next_ms);
        }
        for handed in tenant.handed.iter_mut().filter(|handed| handed.seq == seq && delivered) {
            handed.confirmed = true;
        }
        same("when the alarm is to ring again", &due_ms, &tenant.model.due_at_ms())?;
        self.tally.command("report of a delivery", if delivered { "delivered" } else { "failed" });
        Ok(())
    }

    /// Rings when asked to, until no hold is open and no notice waits. A hold ends by its deadline: bounded by the
    /// first ring at or after it.
    pub(super) fn drain(&mut self, at: usize) -> Result<(), String> {
        // In some worlds no worker ever comes again: the deadlines end all jobs then.
        let works = !self.scenario.seed.is_multiple_of(3);
        for ring in 0..DRAIN_RINGS_MAX {
            let tenant = &self.tenants[at];
            let open = tenant.model.state.account.open > 0;
            let pending = tenant.model.state.notices.iter().any(|notice| notice.next_at_ms.is_some());
            if !open && !pending {
                self.tally.check("every hold ended");
                return Ok(());
            }
            let alarm_at_ms = tenant.shell.alarm_at_ms.ok_or("work is left, and no alarm is set")?;
            self.now_ms = self.now_ms.max(alarm_at_ms);
            if ring == PATIENT_RINGS {
                let deadlines = self.tenants[at].model.state.open_holds().map(|hold| hold.deadline_ms);
                self.now_ms = self.now_ms.max(deadlines.max().unwrap_or(0));
            }
            let first_new = tenant.handed.len();
            self.ring(at, Fault::None)?;
            let now_ms = self.now_ms;
            let overdue = self.tenants[at].model.state.open_holds().any(|hold| hold.deadline_ms <= now_ms);
            holds(!overdue, || "a hold is open after its deadline and the alarm".to_owned())?;
            if works {
                self.work_off(at)?;
            }
            for index in first_new..self.tenants[at].handed.len() {
                self.report_delivery(at, index, true, Fault::None)?;
            }
        }
        Err("alarms ring without end".to_owned())
    }
}
