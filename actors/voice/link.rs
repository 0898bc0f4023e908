//! Sockets: which one is the session's, and how another takes its place.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::command::{Action, Socket};
use super::control::{Control, Message, Resume, Up};
use super::event::{Down, Event, NotResumed};
use super::limits::{HEARTBEAT_MS, ROWS_READ_MAX, TOKENS_KEPT, close};
use super::session::Work;
use crate::shared::Refusal;
use crate::sql::{Sql, row};

fn digest(token: &str) -> String {
    format!("{:x}", Sha256::digest(token))
}

/// The asking socket is told why it is not let in, and closed.
pub(super) fn turned_away(reason: NotResumed) -> [Action; 2] {
    let down = Down::Event(None, Event::ResumeFailed { reason });
    let socket = Socket::Asking;
    [Action::Send { to: socket, down }, Action::Close { socket, code: close::NOT_RESUMED }]
}

impl<S: Sql> Work<'_, S> {
    /// The first socket. A session has one of those: who lost it comes back with its token.
    pub(super) fn attach(&mut self, ticket_digest: String, token: String) -> Result<(), Refusal> {
        if self.at.is_over() || self.at.epoch > 0 {
            let reason = if self.at.is_over() { NotResumed::Expired } else { NotResumed::Superseded };
            self.turn_away(reason);
            return Ok(());
        }
        let keep = "INSERT INTO tokens VALUES (?1, 0)";
        self.sql.execute(keep, &[ticket_digest.into()])?;
        self.bind(&token)?;
        self.tell(Event::Welcome {
            session: self.opened.session.clone(),
            epoch: self.at.epoch,
            resume_token: token,
            window_ms: self.opened.settings.window_ms,
            up_next: self.at.up_next,
            down_next: self.at.down_next,
            heartbeat_ms: HEARTBEAT_MS,
        });
        Ok(())
    }

    /// The first message of a socket that is nobody's yet.
    pub(super) fn first(&mut self, message: &Message, token: String) -> Result<(), Refusal> {
        let Ok(Up::Control(Control::Resume(asked))) = Up::read(message) else {
            self.act(Action::Close { socket: Socket::Asking, code: close::POLICY });
            return Ok(());
        };
        match self.why_not(&asked)? {
            None => self.resume(&asked, token),
            Some(reason) => {
                self.turn_away(reason);
                Ok(())
            }
        }
    }

    fn turn_away(&mut self, reason: NotResumed) {
        self.actions.extend(turned_away(reason));
    }

    /// Why a client may not come back. Only who has a token hears more than that it is bad.
    ///
    /// A token is good from the one that the client is known to have: a newer one may never have reached it, and which
    /// of several sockets is the last to be heard here is not in its hands.
    fn why_not(&mut self, asked: &Resume) -> Result<Option<NotResumed>, Refusal> {
        let known = "SELECT epoch FROM tokens WHERE digest = ?1";
        let epoch: Option<u32> = row(self.sql, known, &[digest(&asked.token).into()])?;
        let Some(epoch) = epoch.filter(|_| asked.session == self.opened.session) else {
            return Ok(Some(NotResumed::BadToken));
        };
        if self.at.is_over() {
            return Ok(Some(NotResumed::Expired));
        }
        if epoch < self.at.confirmed {
            return Ok(Some(NotResumed::Superseded));
        }
        // What it lacks must be kept, and what it has must have been sent, both ways.
        let lacks_kept = asked.last_down >= self.at.down_acked && asked.last_down < self.at.down_next;
        let is_known = lacks_kept && asked.up_next >= self.at.up_next;
        Ok((!is_known).then_some(NotResumed::Evicted))
    }

    fn resume(&mut self, asked: &Resume, token: String) -> Result<(), Refusal> {
        self.bind(&token)?;
        self.acknowledged(asked.last_down)?;
        self.at.up_acked = self.at.up_next.saturating_sub(1);
        self.at.up_acked_ms = self.now_ms;
        self.tell(Event::Resumed {
            epoch: self.at.epoch,
            resume_token: token,
            up_next: self.at.up_next,
            replay_from: asked.last_down.saturating_add(1),
            gap: self.at.gap,
        });
        self.replay()?;
        self.tell(Event::Replayed);
        Ok(())
    }

    /// The asking socket becomes the session's, and `token` is what brings its client back.
    fn bind(&mut self, token: &str) -> Result<(), Refusal> {
        if self.at.attached {
            self.act(Action::Close { socket: Socket::Epoch(self.at.epoch), code: close::TAKEN_OVER });
        } else {
            self.at.attached = true;
            self.at.since_ms = self.now_ms;
        }
        let epoch = self.at.epoch.saturating_add(1);
        self.at.epoch = epoch;
        self.at.seen_ms = self.now_ms;
        self.at.messages_due_ms = self.now_ms;
        let keep = "INSERT INTO tokens VALUES (?1, ?2)";
        self.sql.execute(keep, &[digest(token).into(), i64::from(epoch).into()])?;
        let old = i64::from(epoch.saturating_sub(TOKENS_KEPT));
        let forget = "DELETE FROM tokens WHERE epoch < ?1 AND epoch <> ?2";
        self.sql.execute(forget, &[old.into(), i64::from(self.at.confirmed).into()])?;
        self.act(Action::Bind { epoch });
        Ok(())
    }

    /// Closes the session's socket; its client may come back.
    pub(super) fn drop_socket(&mut self, code: u16) -> Result<(), Refusal> {
        self.act(Action::Close { socket: Socket::Epoch(self.at.epoch), code });
        self.detach(self.now_ms)
    }

    /// The session's socket is gone since `at_ms`, from which the window is counted. Its turn goes on.
    pub(super) fn detach(&mut self, at_ms: i64) -> Result<(), Refusal> {
        if !self.at.attached {
            return Ok(());
        }
        let at_ms = at_ms.clamp(self.at.since_ms, self.now_ms);
        self.at.attached_ms = self.at.lived_ms(at_ms);
        self.at.attached = false;
        self.at.since_ms = at_ms;
        // Without a client nothing is paused: speech goes on into the ring, up to its bound.
        if let Some(turn) = self.at.paused.take() {
            self.act(Action::GoOn { turn });
        }
        self.end_periods()?;
        if self.opened.settings.window_ms == 0 {
            self.end("window")?;
        }
        Ok(())
    }

    /// Says everything again that is not acknowledged.
    fn replay(&mut self) -> Result<(), Refusal> {
        let page =
            "SELECT json_group_array(json_object('seq', seq, 'turn', turn, 'media_offset', media_offset,
                      'flags', flags, 'sound', sound, 'event', json(event)))
                    FROM (SELECT * FROM down WHERE seq > ?1 ORDER BY seq LIMIT ?2)";
        let mut after = 0_i64;
        loop {
            let rows: Vec<Kept> =
                row(self.sql, page, &[after.into(), ROWS_READ_MAX.into()])?.unwrap_or_default();
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = i64::from(last.seq);
            for kept in rows {
                let down = kept.down()?;
                self.act(Action::Send { to: Socket::Epoch(self.at.epoch), down });
            }
        }
    }
}

/// A row of the ring.
#[derive(Deserialize)]
struct Kept {
    seq: u32,
    turn: Option<i64>,
    media_offset: u32,
    flags: u8,
    sound: Option<String>,
    event: Option<Event>,
}

impl Kept {
    fn down(self) -> Result<Down, Refusal> {
        if let Some(event) = self.event {
            return Ok(Down::Event(Some(self.seq), event));
        }
        let pcm = super::sound::decode(&self.sound.unwrap_or_default())?;
        let stream = super::turn::stream_of(self.turn.unwrap_or_default());
        let Self { flags, seq, media_offset, .. } = self;
        Ok(Down::Audio(super::frame::Frame { flags, stream, seq, media_offset, pcm }))
    }
}
