//! Telling listeners what they were not told yet: as much as each has room for, in bounded reads, and what several of
//! them need is read once.

use std::rc::Rc;

use super::{Event, Listener, PAGE_ROWS, Position, after, newest};
use crate::credits::Account;
use crate::shared::Refusal;
use crate::sql::Sql;

/// What came after a place, each with the place right after it; `None` where some of it is gone.
type Page<M> = Option<Vec<(Position, M)>>;

/// One time of telling, of any number of listeners. Nothing may be written in between.
pub struct Telling<M> {
    now_ms: i64,
    newest: Option<Position>,
    /// By the place that each begins at: most listeners are at the same one.
    pages: Vec<(Position, Rc<Page<M>>)>,
}

/// What one listener is told, which was moved on by it.
#[derive(Debug)]
pub struct ToSend<M> {
    /// To be sent in this order. No more than there was room for.
    pub messages: Vec<M>,
    /// What came after them can no longer be told: the account as it is, and the listener begins anew from now on.
    pub passed: Option<Box<Account>>,
    /// The listener is not as it was, and has to be kept.
    pub changed: bool,
}

impl<M: Clone> Telling<M> {
    #[must_use]
    pub const fn new(now_ms: i64) -> Self {
        Self { now_ms, newest: None, pages: Vec::new() }
    }

    /// Tells `listener` what comes after its place, each event as `message` makes it, until it has no room any more.
    ///
    /// # Errors
    /// What the database refused.
    pub fn tell(
        &mut self,
        sql: &mut impl Sql,
        listener: &mut Listener,
        message: impl Fn(&Event) -> M,
    ) -> Result<ToSend<M>, Refusal> {
        let mut told = ToSend { messages: Vec::new(), passed: None, changed: false };
        if listener.is_held_back() {
            return Ok(told);
        }
        let newest = self.newest(sql)?;
        while listener.position.counts() != newest.counts() {
            let room = listener.room();
            if room == 0 {
                listener.hold_back(self.now_ms);
                told.changed = true;
                break;
            }
            told.changed = true;
            let page = self.page(sql, listener.position, newest, room, &message)?;
            let Some(page) = page.as_ref().as_ref().filter(|page| !page.is_empty()) else {
                listener.restart(newest);
                told.passed = Some(Box::new(Account::view_at(sql, self.now_ms)?));
                break;
            };
            for (position, message) in page.iter().take(room) {
                listener.told(*position);
                told.messages.push(message.clone());
            }
        }
        Ok(told)
    }

    fn newest(&mut self, sql: &mut impl Sql) -> Result<Position, Refusal> {
        if let Some(newest) = self.newest {
            return Ok(newest);
        }
        let newest = newest(sql, self.now_ms)?;
        self.newest = Some(newest);
        Ok(newest)
    }

    fn page(
        &mut self,
        sql: &mut impl Sql,
        from: Position,
        newest: Position,
        room: usize,
        message: impl Fn(&Event) -> M,
    ) -> Result<Rc<Page<M>>, Refusal> {
        if let Some((_, page)) = self.pages.iter().find(|(at, _)| at.counts() == from.counts()) {
            return Ok(Rc::clone(page));
        }
        let rows = i64::try_from(room).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
        let events = after(sql, from, newest, rows)?;
        let framed = |event: &Event| (event.position, message(event));
        let page = Rc::new(events.map(|events| events.iter().map(framed).collect()));
        self.pages.push((from, Rc::clone(&page)));
        Ok(page)
    }
}
