//! One voice session: sockets that may be lost, turns that may not.
//!
//! Owns: which socket counts, the sequence both ways, what waits to be acknowledged, the turns and their provider calls,
//! what they may cost and did, and what was heard. Never does: hold a socket, call a provider or a tenant, draw a token.
//! The host does, as the actions say, and reports.
//!
//! Every command is one transaction, and synchronous: a message in, actions out. What is in rows is all there is, so the
//! actor may be lost between any two commands.

mod calls;
mod command;
mod control;
mod due;
mod energy;
mod event;
pub mod frame;
pub mod limits;
mod link;
mod money;
mod pipeline;
mod read;
mod ring;
mod sentence;
mod session;
mod settings;
mod sound;
mod speech;
mod turn;
mod upward;

#[cfg(test)]
mod tests;

pub use command::{
    Action, Ask, Asked, CallEnd, CallId, Command, Input, Open, Outcome, Reply, Role, Said, Socket, Stage,
    TenantAnswer,
};
pub use control::{Control, Message, Resume, Unread, Up, is_turn_id};
pub use energy::{Detector, Edge};
pub use event::{Down, Event, Latencies, NotResumed, Wire};
pub use money::Used;
pub use read::{SessionView, TurnPage, TurnView};
pub use settings::{Costs, Detection, Prices, Settings, TurnBounds, milliseconds};
pub use turn::State;

use crate::shared::Refusal;
use crate::sql::Sql;
use session::{Session, Work, json};

const SCHEMA: &str = include_str!("schema.sql");
/// The longest name of a session, in bytes: names of holds are made of it.
pub const SESSION_BYTES_MAX: usize = 64;

/// Does one command, within a transaction that whoever calls this opened.
///
/// # Errors
/// The refusal; nothing was changed then, if the transaction is undone.
pub fn handle(sql: &mut impl Sql, command: Command, now_ms: i64) -> Result<Outcome, Refusal> {
    if let Command::Open(open) = command {
        return begin(sql, &open, now_ms);
    }
    let Some(mut work) = Work::load(sql, now_ms)? else {
        let asks = matches!(command, Command::First { .. } | Command::Attach { .. });
        let actions = if asks { link::turned_away(NotResumed::Evicted).to_vec() } else { Vec::new() };
        return Ok(Outcome { reply: Reply::Unknown, actions });
    };
    let is_alarm = matches!(command, Command::Alarm { .. });
    let reply = work.does(command)?;
    if !matches!(reply, Reply::Done) {
        return Ok(Outcome { reply, actions: Vec::new() });
    }
    if is_alarm && work.forget()? {
        return Ok(Outcome { reply, actions: work.actions });
    }
    work.follow()?;
    Ok(Outcome { reply, actions: work.actions })
}

/// What the session was opened with; `None` where there is none.
///
/// # Errors
/// What the database refused.
pub fn opened(sql: &mut impl Sql) -> Result<Option<Open>, Refusal> {
    Ok(Work::load(sql, 0)?.map(|work| work.opened))
}

/// Makes the session. The same again is answered the same.
fn begin(sql: &mut impl Sql, open: &Open, now_ms: i64) -> Result<Outcome, Refusal> {
    open.settings.check()?;
    if !is_turn_id(&open.session) || open.session.len() > SESSION_BYTES_MAX {
        let expected = format!("1 to {SESSION_BYTES_MAX} letters, digits, `-` and `_`");
        return Err(Refusal::InvalidSetting { field: "session".to_owned(), expected });
    }
    if Work::load(sql, now_ms)?.is_none() {
        sql.execute(SCHEMA, &[])?;
        let state = Session {
            opened_at_ms: now_ms,
            latest_ms: now_ms,
            since_ms: now_ms,
            up_next: 1,
            down_next: 1,
            ..Session::default()
        };
        sql.execute("INSERT INTO session VALUES (1, ?1, ?2)", &[json(open)?.into(), json(&state)?.into()])?;
    }
    let Some(mut work) = Work::load(sql, now_ms)? else {
        return Err(Refusal::Broken { detail: "a session that was made is not there".to_owned() });
    };
    if work.opened.tenant != open.tenant || work.opened.session != open.session {
        return Err(Refusal::TenantMismatch);
    }
    work.follow()?;
    Ok(Outcome { reply: Reply::Session(Box::new(work.view()?)), actions: work.actions })
}

impl<S: Sql> Work<'_, S> {
    fn does(&mut self, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::Open(_) => {}
            Command::Read { tenant } => {
                self.belongs_to(&tenant)?;
                return Ok(Reply::Session(Box::new(self.view()?)));
            }
            Command::Turns { tenant, after, limit } => {
                self.belongs_to(&tenant)?;
                return Ok(Reply::Turns(self.page(after, limit)?));
            }
            Command::End { tenant } => {
                self.belongs_to(&tenant)?;
                self.end("ended")?;
            }
            Command::Attach { ticket_digest, token } => self.attach(ticket_digest, token)?,
            Command::First { message, token } => self.first(&message, token)?,
            Command::Message { epoch, message } => self.message(epoch, &message)?,
            Command::Unnumbered { epoch, up } => self.unnumbered(epoch, up)?,
            Command::Detached { epoch } if epoch == self.at.epoch => self.detach(self.now_ms)?,
            Command::Detached { .. } => {}
            Command::Hears { call, text } => self.hears(call, text)?,
            Command::Says { call, text } => self.says(call, &text)?,
            Command::Sounds { call, part, pcm } => self.sounds(call, part, &pcm)?,
            Command::Spoken { call, part } => self.spoken(call, part)?,
            Command::CallEnded { call, ended } => self.call_ended(call, ended)?,
            Command::TenantAnswered { hold, answer } => self.tenant_answered(&hold, &answer)?,
            Command::GoAway { ms } => self.tell(Event::Goaway { ms }),
            Command::Alarm { pinged_ms } => self.ring(pinged_ms)?,
            Command::Woke { live } => self.wake_up(live)?,
        }
        Ok(Reply::Done)
    }

    fn wake_up(&mut self, live: Option<u32>) -> Result<(), Refusal> {
        self.at.paused = None;
        if self.at.is_over() {
            self.act(Action::Over);
        }
        if live != Some(self.at.epoch) {
            self.detach(self.now_ms)?;
        }
        self.lose_calls()?;
        self.ask_again(true)
    }

    fn belongs_to(&self, tenant: &crate::shared::TenantId) -> Result<(), Refusal> {
        if self.opened.tenant == *tenant { Ok(()) } else { Err(Refusal::TenantMismatch) }
    }

    /// What follows from any command.
    fn follow(&mut self) -> Result<(), Refusal> {
        if !self.at.is_over() {
            let speaking = self.advance()?;
            self.pace(speaking)?;
            self.tend_periods()?;
            self.end_if_done()?;
            self.acknowledge(false);
        }
        self.settle_turns()?;
        self.wake()?;
        self.store()
    }
}
