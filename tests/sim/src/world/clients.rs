//! Clients, and the edge between them and the actor: admit, provider, progress, settle or release, and again when
//! nothing was heard.

use super::World;
use super::send::Heard;
use crate::command::{Adjust, Admit, Change, Cmd, Key, Progress, Record, Settle, Used};
use crate::model::Answer;
use crate::step::{AdmitPick, Fault, KeyPick};

/// How many steps back steps mostly look for something to go on with.
const RECENT: u32 = 30;

/// A request that the edge has under way.
#[derive(Debug, Clone)]
pub struct Request {
    pub admit: Admit,
    /// The model that answers.
    pub model: Option<u8>,
    /// What was asked to be charged and held so far.
    pub charged: i64,
    pub held: i64,
}

fn key(pick: Option<KeyPick>) -> Option<Key> {
    pick.map(|KeyPick { key, body }| Key { key, body })
}

impl World<'_> {
    pub(super) fn ask_admission(&mut self, at: usize, pick: &AdmitPick, fault: Fault) -> Result<(), String> {
        let asked = Admit {
            hold: self.serial,
            amount: pick.amount,
            ttl_ms: pick.ttl_ms,
            api_key: pick.api_key,
            models: pick.models,
            requests: pick.requests,
            tokens: pick.tokens,
            tier: pick.tier,
            key: key(pick.key),
            fingerprint: pick.fingerprint,
            job: None,
        };
        self.admit(at, asked, fault)
    }

    fn admit(&mut self, at: usize, asked: Admit, fault: Fault) -> Result<(), String> {
        let heard = self.send(at, Cmd::Admit(asked), fault)?;
        let models = match heard {
            Heard::Answer(Answer::Admitted { models, .. }) => models,
            // An admission that was not heard of, and comes again as it was, tells the edge that it has its hold.
            Heard::Refused(actors::shared::Refusal::DuplicateOperation) => asked.models,
            _ => return Ok(()),
        };
        let model = (models != 0).then(|| u8::try_from(models.trailing_zeros()).unwrap());
        let live = &mut self.tenants[at].live;
        if !live.iter().any(|known| known.admit.hold == asked.hold) {
            live.push(Request { admit: asked, model, charged: 0, held: asked.amount });
        }
        Ok(())
    }

    /// One of the requests under way, mostly a recent one. By ids, so that it stays the same one when steps before
    /// it are left out.
    fn pick(&self, at: usize, request: u32) -> Option<usize> {
        let back = if request.is_multiple_of(10) { request } else { request % RECENT };
        let live = &self.tenants[at].live;
        let before = live.iter().rposition(|known| known.admit.hold + back < self.serial);
        before.or((!live.is_empty()).then_some(0))
    }

    fn used(request: &Request, tokens_percent: i64) -> Used {
        let tokens = request.admit.tokens * tokens_percent / 100;
        Used { tokens_in: tokens / 3, tokens_out: tokens - tokens / 3, model: request.model }
    }

    pub(super) fn report_progress(
        &mut self,
        at: usize,
        request: u32,
        (charge_percent, tokens_percent): (i64, i64),
        more: i64,
        ttl_ms: i64,
        fault: Fault,
    ) -> Result<(), String> {
        let Some(picked) = self.pick(at, request) else { return Ok(()) };
        let request = &mut self.tenants[at].live[picked];
        request.charged = request.charged.max(request.held * charge_percent / 100);
        request.held += more;
        let (charge_total, hold_total) = (request.charged, request.held);
        let used = Self::used(request, tokens_percent);
        let asked = Progress { hold: request.admit.hold, charge_total, hold_total, ttl_ms, used };
        self.conclude(at, asked.hold, Cmd::Progress(asked), fault)
    }

    pub(super) fn report_end(
        &mut self,
        at: usize,
        request: u32,
        (charge_percent, tokens_percent): (i64, i64),
        reply: bool,
        fault: Fault,
    ) -> Result<(), String> {
        let Some(picked) = self.pick(at, request) else { return Ok(()) };
        let request = &self.tenants[at].live[picked];
        let charge = request.held * charge_percent / 100;
        let asked =
            Settle { hold: request.admit.hold, charge, used: Self::used(request, tokens_percent), reply };
        self.conclude(at, asked.hold, Cmd::Settle(asked), fault)
    }

    pub(super) fn report_failure(&mut self, at: usize, request: u32, fault: Fault) -> Result<(), String> {
        let Some(picked) = self.pick(at, request) else { return Ok(()) };
        let hold = self.tenants[at].live[picked].admit.hold;
        self.conclude(at, hold, Cmd::Release(hold), fault)
    }

    /// Sends what concerns a hold; once the edge knows that it ended, the request is done.
    fn conclude(&mut self, at: usize, hold: u32, cmd: Cmd, fault: Fault) -> Result<(), String> {
        let heard = self.send(at, cmd, fault)?;
        let over = matches!(
            heard,
            Heard::Answer(Answer::Ended(_)) | Heard::Refused(actors::shared::Refusal::UnknownHold)
        );
        if over {
            self.tenants[at].live.retain(|known| known.admit.hold != hold);
        }
        Ok(())
    }

    pub(super) fn ask_adjustment(
        &mut self,
        at: usize,
        change: Change,
        pick: Option<KeyPick>,
        expires_in_ms: Option<i64>,
        fault: Fault,
    ) -> Result<(), String> {
        let change = match change {
            Change::Grant { amount, promotional, priority, .. } => {
                let expires_at_ms = expires_in_ms.map(|in_ms| self.now_ms + in_ms);
                Change::Grant { amount, promotional, priority, expires_at_ms }
            }
            other => other,
        };
        let asked = Adjust { operation: self.serial, change, key: key(pick) };
        self.send(at, Cmd::Adjust(asked), fault).map(drop)
    }

    pub(super) fn report_usage(
        &mut self,
        at: usize,
        id: u32,
        cost: Option<i64>,
        created_ago_ms: Option<i64>,
        pick: Option<KeyPick>,
        fault: Fault,
    ) -> Result<(), String> {
        let created_at_ms = created_ago_ms.map(|ago_ms| self.now_ms - ago_ms);
        let asked = Record { id, cost, created_at_ms, key: key(pick) };
        self.send(at, Cmd::Record(asked), fault).map(drop)
    }

    /// Sends something again that was sent before: what nobody heard of, or any old message that was on its way
    /// for long.
    pub(super) fn ask_again(&mut self, at: usize, back: u32, fault: Fault) -> Result<(), String> {
        let tenant = &mut self.tenants[at];
        let cmd = if !back.is_multiple_of(3) && !tenant.unanswered.is_empty() {
            tenant.unanswered.pop()
        } else {
            let far = if back.is_multiple_of(2) { back / 3 % RECENT } else { back };
            let before = tenant.sent.iter().rfind(|(serial, _)| serial + far < self.serial);
            before.or(tenant.sent.first()).map(|(_, cmd)| cmd.clone())
        };
        let Some(cmd) = cmd else { return Ok(()) };
        self.tally.fault("message sent again");
        let fresh = self.serial;
        match cmd {
            // A client that asks again makes a new request of the same key; the edge that does sends the same one.
            Cmd::Admit(asked) if (asked.key.is_some() || asked.fingerprint.is_some()) && back % 4 < 2 => {
                self.admit(at, Admit { hold: fresh, ..asked }, fault)
            }
            Cmd::Admit(asked) => self.admit(at, asked, fault),
            Cmd::Progress(Progress { hold, .. }) | Cmd::Settle(Settle { hold, .. }) | Cmd::Release(hold) => {
                self.conclude(at, hold, cmd, fault)
            }
            // Each request of an operator is an operation of its own; its key tells that it is the same.
            Cmd::Adjust(asked) => {
                self.send(at, Cmd::Adjust(Adjust { operation: fresh, ..asked }), fault).map(drop)
            }
            other => self.send(at, other, fault).map(drop),
        }
    }
}
