//! Asking one provider after the other until one answers, inside one budget of time.
//!
//! What is asked is an argument: a whole answer, a stream, anything that a provider gives or fails to give.

use std::rc::Rc;

use futures::future::{Either, select};

use super::Failure;
use super::breakers::{self, Pass};
use super::failure::Deadline;
use super::schedule::{self, Schedule, Step};
use crate::platform::config::{Config, Provider};
use crate::platform::{chance, log, now_ms, timer};

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of it at once, within the provider's deadline for answers. The time is kept here.
    Whole,
    /// What is waited for is its first piece. Whoever asks keeps the time: it is told how much there is, and the
    /// provider's deadlines say how much of it the headers may take.
    Stream,
    /// The same with bytes that a provider bills by what was submitted: nobody is asked beside another.
    Bytes,
}

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub config: &'a Config,
    /// In the order they are asked, but for those that share a place.
    pub providers: &'a [Provider],
    pub request_id: &'a str,
    /// When the request's time is over.
    pub end_ms: i64,
    pub form: Form,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    Failed(Failure),
    /// Another one that was asked beside it answered first.
    Outrun,
    /// It was not asked: its breaker is open.
    PassedOver,
}

impl Outcome {
    pub fn code(self) -> String {
        match self {
            Self::Answered => "answered".to_owned(),
            Self::Failed(failure) => failure.exact_code(),
            Self::Outrun => "outrun".to_owned(),
            Self::PassedOver => "breaker_open".to_owned(),
        }
    }

    /// The same for clients, who have known fewer words for longer.
    fn plain_code(self) -> String {
        match self {
            Self::Failed(failure) => failure.code(),
            other => other.code(),
        }
    }
}

/// One provider that was asked, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub provider: Rc<str>,
    pub model: String,
    pub outcome: Outcome,
    pub duration_ms: i64,
}

/// What was asked for.
pub struct Answered<T> {
    pub provider: Provider,
    pub value: T,
    /// In the order they ended. The last one answered.
    pub attempts: Vec<Attempt>,
}

/// No provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub attempts: Vec<Attempt>,
}

impl Failed {
    /// Whether all who were asked call the request itself wrong.
    pub fn blames_request(&self) -> bool {
        let wrong = |outcome| matches!(outcome, Outcome::Failed(failure) if failure.blames_request());
        !self.attempts.is_empty() && self.attempts.iter().all(|attempt| wrong(attempt.outcome))
    }

    /// After how long the first of those who said so may be asked again; `None` where nobody did. Who only failed may be
    /// asked sooner, but may fail as long.
    pub fn retry_after_ms(&self) -> Option<u32> {
        let said = self.attempts.iter().filter_map(|attempt| match attempt.outcome {
            Outcome::Failed(Failure::Later { status: 429 | 503, after_ms }) => Some(after_ms),
            _ => None,
        });
        said.min()
    }

    /// In words for a client: names and codes, nothing that a provider said.
    pub fn detail(&self) -> String {
        if self.attempts.is_empty() {
            return "no provider is configured".to_owned();
        }
        let attempts: Vec<String> = self
            .attempts
            .iter()
            .map(|attempt| format!("{}: {}", attempt.provider, attempt.outcome.plain_code()))
            .collect();
        attempts.join("; ")
    }
}

/// Asks the plan's providers until one answers. `ask` is given a provider and how long it may take.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before the plan's end.
pub async fn run<T>(
    plan: Plan<'_>,
    ask: impl AsyncFn(&Provider, i64) -> Result<T, Failure>,
) -> Result<Answered<T>, Failed> {
    let terms: Vec<(usize, u32)> =
        plan.providers.iter().map(|provider| (provider.place, provider.weight)).collect();
    let order = schedule::draw(&terms, chance);
    let schedule = Schedule::new(order, plan.config.fallback.retries, plan.end_ms);
    let mut run = Run { plan, schedule, attempts: Vec::new(), passed_over: None, asked: false };
    let hedge_ms = match plan.form {
        Form::Stream => plan.config.fallback.hedge_after_ms,
        Form::Whole | Form::Bytes => 0,
    };
    while let Some(next) = run.next_one().await {
        // Only the first is hedged: a request costs at most one answer more for it.
        let hedged = hedge_ms > 0 && !std::mem::replace(&mut run.asked, true);
        let found = if hedged { run.hedged(next, hedge_ms, &ask).await } else { run.alone(next, &ask).await };
        if let Some((provider, value)) = found {
            return Ok(Answered { provider, value, attempts: run.attempts });
        }
    }
    Err(run.failed())
}

/// One call that is under way.
struct Underway<'a> {
    number: usize,
    provider: &'a Provider,
    pass: Pass,
    started_ms: i64,
    wait_ms: i64,
}

/// One request's attempts so far.
struct Run<'a> {
    plan: Plan<'a>,
    schedule: Schedule,
    attempts: Vec<Attempt>,
    /// Of those whose breakers are open, the one that opens soonest.
    passed_over: Option<(i64, usize)>,
    /// Somebody was asked.
    asked: bool,
}

impl<'a> Run<'a> {
    /// Who is asked next, after waiting as long as that takes; `None` when nobody is left.
    async fn next_one(&mut self) -> Option<Underway<'a>> {
        loop {
            match self.next_now() {
                Ok(next) => return next,
                Err(until_ms) => {
                    let wait_ms = until_ms.saturating_sub(now_ms());
                    timer::sleep(u32::try_from(wait_ms).unwrap_or(0)).await;
                }
            }
        }
    }

    /// # Errors
    /// When somebody may be asked.
    fn next_now(&mut self) -> Result<Option<Underway<'a>>, i64> {
        loop {
            let number = match self.schedule.next(now_ms(), chance()) {
                Step::Ask(number) => number,
                Step::Wait { until_ms } => return Err(until_ms),
                Step::End => return Ok(self.last_resort()),
            };
            let Some(provider) = self.plan.providers.get(number) else {
                continue;
            };
            match Pass::ask(&self.plan.config.fallback.breaker, provider) {
                Ok(pass) => return Ok(Some(self.underway(number, provider, pass))),
                Err(until_ms) => {
                    self.schedule.passed_over();
                    if self.passed_over.is_none_or(|(soonest_ms, _)| until_ms < soonest_ms) {
                        self.passed_over = Some((until_ms, number));
                    }
                    self.note(provider, Outcome::PassedOver, 0);
                }
            }
        }
    }

    /// Where every breaker is open, nobody was asked, and failing without a try would be certain where a try costs
    /// little: the one that opens soonest is asked all the same. When it answers, its breaker closes.
    fn last_resort(&mut self) -> Option<Underway<'a>> {
        let (_, number) = self.passed_over.take().filter(|_| !self.asked)?;
        let provider = self.plan.providers.get(number)?;
        (now_ms() < self.plan.end_ms).then(|| self.underway(number, provider, Pass::force(provider)))
    }

    fn underway(&mut self, number: usize, provider: &'a Provider, pass: Pass) -> Underway<'a> {
        let started_ms = now_ms();
        let left_ms = self.plan.end_ms.saturating_sub(started_ms);
        let own_ms = match self.plan.form {
            Form::Whole => provider.deadlines.answer_ms,
            Form::Stream | Form::Bytes => provider.deadlines.first_token_ms,
        };
        Underway { number, provider, pass, started_ms, wait_ms: own_ms.min(left_ms) }
    }

    async fn alone<T>(
        &mut self,
        one: Underway<'a>,
        ask: &impl AsyncFn(&Provider, i64) -> Result<T, Failure>,
    ) -> Option<(Provider, T)> {
        self.asked = true;
        let outcome = call(self.plan, one.provider, one.wait_ms, ask).await;
        self.end(one, outcome)
    }

    /// Asks the first, and after a while without a piece of it the next one too. Whoever is first wins; the other's
    /// call is dropped, which ends it.
    async fn hedged<T>(
        &mut self,
        first: Underway<'a>,
        hedge_ms: i64,
        ask: &impl AsyncFn(&Provider, i64) -> Result<T, Failure>,
    ) -> Option<(Provider, T)> {
        let plan = self.plan;
        let mut first_call = Box::pin(call(plan, first.provider, first.wait_ms, ask));
        if let Ok(outcome) = timer::within(hedge_ms, &mut first_call).await {
            return self.end(first, outcome);
        }
        // Nobody to be had just now: the first has its time.
        let Ok(Some(second)) = self.next_now() else {
            let outcome = first_call.await;
            return self.end(first, outcome);
        };
        let second_call = Box::pin(call(plan, second.provider, second.wait_ms, ask));
        let (ended, outcome, other, other_call) = match select(first_call, second_call).await {
            Either::Left((outcome, call)) => (first, outcome, second, Either::Left(call)),
            Either::Right((outcome, call)) => (second, outcome, first, Either::Right(call)),
        };
        if let Some(found) = self.end_beside(ended, outcome, &other) {
            return Some(found);
        }
        let outcome = match other_call {
            Either::Left(call) => call.await,
            Either::Right(call) => call.await,
        };
        self.end(other, outcome)
    }

    /// The end of a call while another is under way, which has lost when this one answered.
    fn end_beside<T>(
        &mut self,
        one: Underway<'a>,
        outcome: Result<T, Failure>,
        other: &Underway<'a>,
    ) -> Option<(Provider, T)> {
        if outcome.is_ok() {
            self.note(other.provider, Outcome::Outrun, now_ms().saturating_sub(other.started_ms));
        }
        self.end(one, outcome)
    }

    /// Notes what came of a call, everywhere it is of interest.
    fn end<T>(&mut self, one: Underway<'a>, outcome: Result<T, Failure>) -> Option<(Provider, T)> {
        let ended_ms = now_ms();
        let duration_ms = ended_ms.saturating_sub(one.started_ms);
        let failure = outcome.as_ref().err().copied();
        one.pass.end(&self.plan.config.fallback.breaker, failure, duration_ms);
        self.note(one.provider, failure.map_or(Outcome::Answered, Outcome::Failed), duration_ms);
        if let Some(failure) = failure {
            self.schedule.failed(one.number, failure, ended_ms);
        }
        outcome.ok().map(|value| (one.provider.clone(), value))
    }

    fn note(&mut self, provider: &Provider, outcome: Outcome, duration_ms: i64) {
        let attempt = Attempt {
            provider: Rc::clone(&provider.name),
            model: provider.model.clone(),
            outcome,
            duration_ms,
        };
        // What was not asked is told by the line of the breaker that opened; who answered at once, by the line of the
        // request and the usage row.
        let at_once = outcome == Outcome::Answered && self.attempts.is_empty();
        if outcome != Outcome::PassedOver && !at_once {
            log::attempt(&log::AttemptLine {
                event: "provider_attempt",
                request_id: self.plan.request_id,
                provider: &attempt.provider,
                outcome: &outcome.code(),
                duration_ms,
            });
        }
        self.attempts.push(attempt);
    }

    /// Nobody answered. Those whose turn never came ran out of the request's time.
    fn failed(mut self) -> Failed {
        for provider in self.plan.providers {
            let told =
                |attempt: &Attempt| attempt.provider == provider.name && attempt.model == provider.model;
            if !self.attempts.iter().any(told) {
                let outcome = Outcome::Failed(Failure::Timeout(Deadline::Budget));
                let (provider, model) = (Rc::clone(&provider.name), provider.model.clone());
                self.attempts.push(Attempt { provider, model, outcome, duration_ms: 0 });
            }
        }
        Failed { attempts: self.attempts }
    }
}

/// One call with its deadline.
async fn call<T>(
    plan: Plan<'_>,
    provider: &Provider,
    wait_ms: i64,
    ask: &impl AsyncFn(&Provider, i64) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let answer = match plan.form {
        Form::Stream | Form::Bytes => ask(provider, wait_ms).await,
        Form::Whole => timer::within(wait_ms, ask(provider, wait_ms))
            .await
            .unwrap_or(Err(Failure::Timeout(Deadline::Total))),
    };
    match answer {
        // It had less time than it may take, because others took theirs: that is no fault of its own.
        Err(Failure::Timeout(deadline)) if wait_ms < own_ms(provider, deadline) => {
            Err(Failure::Timeout(Deadline::Budget))
        }
        other => other,
    }
}

/// How long the provider itself may take.
fn own_ms(provider: &Provider, deadline: Deadline) -> i64 {
    let deadlines = provider.deadlines;
    match deadline {
        Deadline::Connect => deadlines.connect_ms.min(deadlines.first_token_ms),
        Deadline::FirstToken | Deadline::Idle => deadlines.first_token_ms,
        Deadline::Total => deadlines.answer_ms,
        Deadline::Budget => i64::MAX,
    }
}

/// A stream that was given away broke off: its provider is judged by that too.
pub fn stream_failed(config: &Config, provider: &Provider, failure: Failure) {
    breakers::broke_off(&config.fallback.breaker, provider, failure);
}
