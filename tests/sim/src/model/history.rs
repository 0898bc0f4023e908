//! What happened, in the order of real time: what the sums over sliding windows and periods are taken from.

use super::{Budget, Hold, Model, State, budgets};
use crate::command::{API_KEYS, Admit};
use actors::rate::Limits;

/// A request that was admitted, with the weights that are known of it.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// `None` for a client's report.
    pub hold: Option<u32>,
    pub api_key: Option<u8>,
    pub at_ms: i64,
    /// It is no request, but what one grew by.
    pub growth: bool,
    /// Requests, tokens, credits.
    pub weights: [i64; 3],
}

/// A charge, at the time that the clock showed.
#[derive(Debug, Clone, Copy)]
pub struct Charge {
    pub hold: u32,
    pub at_ms: i64,
    pub api_key: Option<u8>,
    pub model: Option<u8>,
    pub amount: i64,
}

/// Whose budgets: the tenant's, then each key's.
pub const SCOPES: usize = 1 + API_KEYS.len();

#[derive(Default)]
pub struct History {
    pub admissions: Vec<Admission>,
    /// The latest time that each meter had seen by then: the clock may have stepped back since.
    pub stamps: Vec<[[i64; 3]; SCOPES]>,
    /// From which admission on a budget is what it is now.
    pub since: [[usize; 3]; SCOPES],
    pub budgets: [[Option<Budget>; 3]; SCOPES],
}

impl History {
    /// Takes over what a command that landed did.
    pub fn follow(&mut self, state: &mut State) {
        for (hold, tokens, micro) in state.weighed.drain(..) {
            self.weigh(hold, tokens, micro);
        }
        for admission in state.admitted.drain(..) {
            // Also what became known of a request later told a meter the time. A key's meters go with its limits.
            self.stamps.push(state.meters.map(|meters| meters.map(|meter| meter.clock_ms)));
            self.admissions.push(admission);
        }
    }

    /// What was used is of the request first, and then of what it grew by, in the order of growing.
    fn weigh(&mut self, hold: u32, tokens: i64, micro: i64) {
        let of_hold = |known: &Admission| known.hold == Some(hold);
        let Some(first) = self.admissions.iter().rposition(|known| of_hold(known) && !known.growth) else {
            return;
        };
        self.admissions[first].weights[1] = tokens;
        let mut left = micro;
        for known in self.admissions.iter_mut().skip(first).filter(|known| of_hold(known)) {
            known.weights[2] = known.weights[2].min(left);
            left -= known.weights[2];
        }
    }
}

impl Model {
    pub(super) fn note_admitted(&mut self, asked: &Admit, now_ms: i64) {
        let weights = [asked.requests, asked.tokens, asked.amount];
        let (hold, api_key) = (Some(asked.hold), asked.api_key);
        self.state.admitted.push(Admission { hold, api_key, at_ms: now_ms, growth: false, weights });
    }

    pub(super) fn note_grown(&mut self, hold: &Hold, more: i64, now_ms: i64) {
        let (hold, api_key, weights) = (Some(hold.id), hold.api_key, [0, 0, more]);
        self.state.admitted.push(Admission { hold, api_key, at_ms: now_ms, growth: true, weights });
    }

    pub(super) fn note_reported(&mut self, now_ms: i64) {
        let (hold, api_key, weights) = (None, None, [1, 0, 0]);
        self.state.admitted.push(Admission { hold, api_key, at_ms: now_ms, growth: false, weights });
    }

    /// Notes from when on budgets are what they are: to be called after settings changed.
    pub fn note_budgets(&mut self) {
        let policy = self.policy.clone();
        let settings = self.state.settings.clone();
        let own = budgets(&settings.limits, self.plan(&policy));
        let of_key =
            |key: &str| settings.keys.get(key).map_or([None; 3], |own| budgets(own, &Limits::default()));
        let now: [[Option<Budget>; 3]; SCOPES] =
            std::array::from_fn(|scope| if scope == 0 { own } else { of_key(API_KEYS[scope - 1]) });
        let (before, since) =
            (self.history.budgets.iter().flatten(), self.history.since.iter_mut().flatten());
        for ((before, now), since) in before.zip(now.iter().flatten()).zip(since) {
            if before != now {
                *since = self.history.admissions.len();
            }
        }
        self.history.budgets = now;
    }
}
