//! A command on its way to an actor and its answer back, with whatever goes wrong on the way.

use actors::shared::Refusal;
use actors::tenant::{Call, Command, Effect, Outcome};

use super::World;
use crate::check;
use crate::check::dump::{holds_still, image};
use crate::command::{Cmd, Question};
use crate::job_command::JobCmd;
use crate::model::Answer;
use crate::shell::{Woken, effects_happen};
use crate::step::Fault;

/// What the client heard.
pub enum Heard {
    Answer(Answer),
    Refused(Refusal),
    /// No answer, or that something failed: it may have happened or not.
    Nothing,
}

/// Of how many refusals one is compared byte by byte, and of how many waits one is tried out.
const DUMP_EVERY: u32 = 128;
const PROBE_EVERY: u32 = 8;

impl World<'_> {
    pub(super) fn send(&mut self, at: usize, cmd: Cmd, mut fault: Fault) -> Result<Heard, String> {
        let heard = self.carry(at, &cmd, &mut fault)?;
        self.say(|| match &heard {
            Heard::Answer(answer) => format!("    {cmd:?} -> {answer:?}"),
            Heard::Refused(refusal) => format!("    {cmd:?} -> refused: {refusal:?}"),
            Heard::Nothing => format!("    {cmd:?} -> nothing heard"),
        });
        let outcome = match &heard {
            Heard::Answer(answer) => answer_name(answer),
            Heard::Refused(refusal) => refusal_name(refusal),
            Heard::Nothing => "not heard",
        };
        self.tally.command(kind(&cmd), outcome);
        let tenant = &mut self.tenants[at];
        if matches!(heard, Heard::Nothing) {
            tenant.unanswered.push(cmd.clone());
        }
        tenant.sent.push((self.serial, cmd));
        Ok(heard)
    }

    fn carry(&mut self, at: usize, cmd: &Cmd, fault: &mut Fault) -> Result<Heard, String> {
        let now_ms = self.now_ms;
        let command = cmd.build();
        if !self.tenants[at].shell.is_awake()
            && let Some(heard) = self.wake(at, cmd, &command, fault)?
        {
            return Ok(heard);
        }
        let fault = *fault;
        let tenant = &mut self.tenants[at];
        let predicted = tenant.model.predict(cmd, now_ms);
        let looked_at =
            self.serial.is_multiple_of(DUMP_EVERY) && (predicted.answer.is_err() || fault != Fault::None);
        let before = looked_at.then(|| image(&tenant.shell.database));
        let done = tenant.shell.handle(&tenant.id, command, now_ms, fault);
        if done.hit || !matches!(fault, Fault::None | Fault::Statement(_)) {
            self.tally.fault(fault_name(fault));
        }
        if let (Some(before), false) = (before, done.landed) {
            check::holds(holds_still(&mut tenant.shell.database, &before), || {
                "a refusal left a change".to_owned()
            })?;
            self.tally.check("nothing left by a refusal");
        }
        let Some(said) = done.said else {
            tenant.model.undo(&predicted);
            return Ok(Heard::Nothing);
        };
        check::holds(!done.hit, || format!("an injected fault came out as {said:?}"))?;
        let (replied, sent) = match said {
            Ok(Outcome { reply, effects }) => (Ok(reply), nudges(&effects)),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        check::replies::compare(&replied, &predicted.answer)?;
        let answer = predicted.answer.clone();
        tenant.model.commit(predicted);
        if done.landed {
            check::same("messages for workers", &sent, &tenant.model.nudges())?;
            // A shell that died before its effects sends none.
            if effects_happen(fault) {
                let jobs = &tenant.model.state.nudges;
                tenant.messages.extend(jobs);
            }
        }
        if fault == Fault::CommitReportedFailed {
            // The platform starts an object anew whose storage failed.
            tenant.shell.evict();
        }
        self.committed |= done.landed;
        if done.landed {
            self.after(at, cmd, &answer)?;
        }
        self.probe(at, cmd, &answer)?;
        if !done.heard {
            return Ok(Heard::Nothing);
        }
        Ok(match answer {
            Ok(Answer::Refused(refusal)) => {
                self.tally.check("refusals that are told");
                Heard::Refused(refusal)
            }
            Ok(answer) => Heard::Answer(answer),
            Err(refusal) => Heard::Refused(refusal),
        })
    }

    /// Wakes the actor; an answer when it needs no database for it, or did not wake.
    fn wake(
        &mut self,
        at: usize,
        cmd: &Cmd,
        command: &Command,
        fault: &mut Fault,
    ) -> Result<Option<Heard>, String> {
        let now_ms = self.now_ms;
        let tenant = &mut self.tenants[at];
        let call =
            Call { tenant: tenant.id.clone(), api_key: None, request_id: None, command: command.clone() };
        let woken = tenant.shell.wake(&call, now_ms, fault);
        match woken.map_err(|refusal| format!("waking was refused: {refusal:?}"))? {
            Woken::Failed => {
                self.tally.fault(fault_name(*fault));
                Ok(Some(Heard::Nothing))
            }
            Woken::Unopened(reply) => {
                check::holds(!tenant.model.state.opened, || "what was acknowledged is gone".to_owned())?;
                let predicted = match cmd {
                    Cmd::Ask(_) => tenant.model.predict(cmd, now_ms),
                    Cmd::Job(asked) if !matches!(asked, JobCmd::Create(_)) => {
                        tenant.model.predict(cmd, now_ms)
                    }
                    _ => tenant.model.predict_open(cmd, now_ms),
                };
                check::replies::compare(&reply, &predicted.answer)?;
                tenant.model.undo(&predicted);
                Ok(Some(match predicted.answer {
                    Ok(answer) => Heard::Answer(answer),
                    Err(refusal) => Heard::Refused(refusal),
                }))
            }
            Woken::Opened => {
                if !tenant.model.state.opened {
                    self.committed = true;
                    let predicted = tenant.model.predict_open(cmd, now_ms);
                    let expected = &predicted.answer;
                    check::holds(expected.is_ok(), || format!("opened, expected {expected:?}"))?;
                    tenant.model.commit(predicted);
                }
                Ok(None)
            }
        }
    }

    /// What must be true after an answer that landed.
    fn after(&mut self, at: usize, cmd: &Cmd, answer: &Result<Answer, Refusal>) -> Result<(), String> {
        let model = &self.tenants[at].model;
        match (cmd, answer) {
            (Cmd::Admit(asked), Ok(Answer::Admitted { .. })) => {
                check::windows::check_admission(model, asked, self.now_ms)?;
                self.tally.check("windows, caps and grants of an admission");
            }
            // What new caps begin with is seen in the rows alone.
            (Cmd::SetLimits { .. }, Ok(_)) => {
                let tenant = &mut self.tenants[at];
                check::full::check_counters(&mut tenant.shell.database, &tenant.model)?;
            }
            (Cmd::Job(JobCmd::Create(_)), Ok(Answer::JobMade { job, deduped, replayed })) => {
                check::windows::check_window(model)?;
                // A job that was forgotten and is asked for after all that time is another one.
                if !deduped && !replayed {
                    self.tenants[at].leases.retain(|(known, _), _| *known != job.id);
                }
            }
            (Cmd::Progress(_), Ok(Answer::Progressed { .. })) => check::windows::check_window(model)?,
            (Cmd::Record(_), Ok(Answer::Recorded { .. })) => check::windows::check_window(model)?,
            (Cmd::Settle(asked), Ok(Answer::Ended(ended))) if ended.first => {
                let most = ended.charged + ended.shortfall;
                check::holds(ended.charged <= asked.charge.max(ended.charged - ended.shortfall), || {
                    format!("a settle of {} charged {most}", asked.charge)
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Who waits as long as it was told is admitted, if nothing comes between. Tried out, and undone.
    fn probe(&mut self, at: usize, cmd: &Cmd, answer: &Result<Answer, Refusal>) -> Result<(), String> {
        let (Cmd::Admit(asked), Err(Refusal::RateLimited { retry_after_ms, window_ms, .. })) = (cmd, answer)
        else {
            return Ok(());
        };
        let tenant = &mut self.tenants[at];
        if *window_ms == 0 || !tenant.shell.is_awake() || !self.serial.is_multiple_of(PROBE_EVERY) {
            return Ok(());
        }
        let later_ms = self.now_ms + retry_after_ms;
        let again = Cmd::Admit(crate::command::Admit { hold: 900_000 + self.serial, ..*asked });
        let said = tenant.shell.try_out(&tenant.id, again.build(), later_ms);
        let limited = matches!(&said, Err(Refusal::RateLimited { window_ms, .. }) if *window_ms > 0);
        check::holds(!limited, || format!("{retry_after_ms} ms were waited, and then {said:?}"))?;
        self.tally.check("waits as long as told");
        Ok(())
    }

    /// Somebody else's command arrives at this actor.
    pub(super) fn ask_as_stranger(&mut self, at: usize, request: u32) -> Result<(), String> {
        let tenant = &mut self.tenants[at];
        if !tenant.shell.is_awake() {
            return Ok(());
        }
        let cmd = match tenant.live.get(request as usize % tenant.live.len().max(1)) {
            Some(known) => Cmd::Release(known.admit.hold),
            None => Cmd::Ask(Question::Balance),
        };
        let stranger = actors::shared::TenantId::Email("stranger@example.org".to_owned());
        let done = tenant.shell.handle(&stranger, cmd.build(), self.now_ms, Fault::None);
        let refused = matches!(done.said, Some(Err(Refusal::TenantMismatch)));
        check::holds(refused, || "a stranger was served".to_owned())?;
        self.tally.command(kind(&cmd), "tenant mismatch");
        Ok(())
    }
}

/// The jobs that messages are to be sent for.
pub(super) fn nudges(effects: &[Effect]) -> Vec<String> {
    let job = |effect: &Effect| match effect {
        Effect::Nudge(nudge) => Some(nudge.job.clone()),
        _ => None,
    };
    effects.iter().filter_map(job).collect()
}

fn kind(cmd: &Cmd) -> &'static str {
    match cmd {
        Cmd::Admit(_) => "admit",
        Cmd::Progress(_) => "progress",
        Cmd::Settle(_) => "settle",
        Cmd::Release(_) => "release",
        Cmd::Adjust(_) => "adjust",
        Cmd::Record(_) => "record usage",
        Cmd::SetLimits { .. } => "set limits",
        Cmd::Job(asked) => asked.kind(),
        Cmd::Ask(_) => "question",
    }
}

fn answer_name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Admitted { .. } => "admitted",
        Answer::Replay(_)
        | Answer::Adjusted { replayed: true, .. }
        | Answer::Recorded { replayed: true, .. }
        | Answer::JobMade { replayed: true, .. } => "replayed",
        Answer::JobMade { deduped: true, .. } => "known already",
        Answer::Leased(None) => "nothing to do",
        Answer::JobEnded { first: false, .. } => "had ended",
        Answer::Redriven { refused, .. } if !refused.is_empty() => "done in part",
        Answer::Ended(ended) if !ended.first => "had ended",
        Answer::Ended(ended) if ended.shortfall > 0 => "done, short",
        _ => "done",
    }
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::InsufficientCredits { .. } => "insufficient credits",
        Refusal::RateLimited { window_ms: 0, .. } => "too many in flight",
        Refusal::RateLimited { .. } => "rate limited",
        Refusal::ExceedsBudget { .. } => "exceeds budget",
        Refusal::CapReached { .. } => "cap reached",
        Refusal::TierNotAllowed { .. } => "tier not allowed",
        Refusal::InvalidSetting { .. } => "invalid setting",
        Refusal::TooManyGrants { .. } => "too many grants",
        Refusal::UnknownEntry => "unknown entry",
        Refusal::IdempotencyConflict => "key with another body",
        Refusal::IdempotencyInProgress => "key in progress",
        Refusal::DuplicateOperation => "duplicate operation",
        Refusal::UnknownHold => "unknown hold",
        Refusal::InvalidAmount => "invalid amount",
        Refusal::TenantMismatch => "tenant mismatch",
        Refusal::UnknownJob => "unknown job",
        Refusal::StaleLease { .. } => "stale lease",
        Refusal::InvalidTransition { .. } => "invalid transition",
        Refusal::CredentialEnded => "credential ended",
        _ => "another refusal",
    }
}

pub(super) fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::None => "none",
        Fault::Statement(statement) if statement.landed => "statement failed after it landed",
        Fault::Statement(_) => "statement failed",
        Fault::CommitReportedFailed => "commit landed, reported as failed",
        Fault::ReplyLost => "reply lost",
        Fault::CrashAfterCommit => "crash after the commit",
        Fault::CrashBeforeCommit => "crash before the commit",
    }
}
