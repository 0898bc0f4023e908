//! A job's states, and what leads from one to the other: one table, which the rules ask and the diagram is made of.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::shared::Refusal;

/// Where a job is. Clients see fewer: [`State::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for its time: it was made for later, or an attempt failed and the next one is to come.
    Delayed,
    /// Ready, and nobody was told: as many as may run are running or asked for.
    Queued,
    /// Ready, and a message says so. It is sent again until somebody comes.
    Nudged,
    /// A worker has it, until its lease runs out.
    Leased,
    /// A client works on it itself, until the job's own deadline.
    Taken,
    Succeeded,
    /// The dead-letter list: it is said why, and it can be begun anew.
    Failed,
    Cancelled,
}

/// What clients see of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Its time has come.
    Due,
    /// A message is sent for it, or sent again.
    Nudge,
    /// The message that was sent for it brought somebody who got another job.
    Pass,
    Lease,
    /// Its worker says that it is at it.
    Beat,
    Complete,
    /// The attempt failed or its lease ran out, and another one is to come.
    Retry,
    /// The attempt failed, and none is to come.
    Die,
    Cancel,
    /// Its deadline passed.
    Expire,
    Redrive,
    /// A client begins to work on it itself.
    Take,
    /// A client gives back what it took.
    GiveBack,
    /// The same, and its time is still to come.
    GiveBackEarly,
    /// A client says that it is done.
    Finish,
    /// A client says that it failed.
    GiveUp,
}

/// Everything that may happen. What is not here is refused.
pub const TABLE: [(State, Event, State); 34] = {
    use Event::{
        Beat, Cancel, Complete, Die, Due, Expire, Finish, GiveBack, GiveBackEarly, GiveUp, Lease, Nudge,
        Pass, Redrive, Retry, Take,
    };
    use State::{Cancelled, Delayed, Failed, Leased, Nudged, Queued, Succeeded, Taken};
    [
        (Delayed, Due, Queued),
        (Delayed, Cancel, Cancelled),
        (Delayed, Expire, Failed),
        (Delayed, Take, Taken),
        (Delayed, Finish, Succeeded),
        (Delayed, GiveUp, Failed),
        (Queued, Nudge, Nudged),
        (Queued, Lease, Leased),
        (Queued, Cancel, Cancelled),
        (Queued, Expire, Failed),
        (Queued, Take, Taken),
        (Queued, Finish, Succeeded),
        (Queued, GiveUp, Failed),
        (Nudged, Nudge, Nudged),
        (Nudged, Pass, Queued),
        (Nudged, Lease, Leased),
        (Nudged, Cancel, Cancelled),
        (Nudged, Expire, Failed),
        (Nudged, Take, Taken),
        (Nudged, Finish, Succeeded),
        (Nudged, GiveUp, Failed),
        (Leased, Beat, Leased),
        (Leased, Complete, Succeeded),
        (Leased, Retry, Delayed),
        (Leased, Die, Failed),
        (Leased, Cancel, Cancelled),
        (Leased, Expire, Failed),
        (Taken, GiveBack, Queued),
        (Taken, GiveBackEarly, Delayed),
        (Taken, Finish, Succeeded),
        (Taken, GiveUp, Failed),
        (Taken, Cancel, Cancelled),
        (Taken, Expire, Failed),
        (Failed, Redrive, Queued),
    ]
};

impl State {
    pub const ALL: [Self; 8] = [
        Self::Delayed,
        Self::Queued,
        Self::Nudged,
        Self::Leased,
        Self::Taken,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Queued => "queued",
            Self::Nudged => "nudged",
            Self::Leased => "leased",
            Self::Taken => "taken",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Delayed | Self::Queued | Self::Nudged => Status::Queued,
            Self::Leased | Self::Taken => Status::Running,
            Self::Succeeded => Status::Succeeded,
            Self::Failed => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }

    /// Nothing happens to it by itself any more, and no credit is set aside for it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Where `event` leads from here.
    ///
    /// # Errors
    /// `InvalidTransition`.
    pub fn after(self, event: Event) -> Result<Self, Refusal> {
        let found = TABLE.iter().find(|(from, what, _)| (*from, *what) == (self, event));
        let refused = || Refusal::InvalidTransition {
            from: self.status().name().to_owned(),
            to: event.wants().name().to_owned(),
        };
        found.map(|(_, _, to)| *to).ok_or_else(refused)
    }
}

impl Status {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The states that are shown as it.
    pub fn states(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| state.status() == self)
    }
}

impl Event {
    /// The status that it is meant to lead to.
    const fn wants(self) -> Status {
        match self {
            Self::Due
            | Self::Nudge
            | Self::Pass
            | Self::Retry
            | Self::Redrive
            | Self::GiveBack
            | Self::GiveBackEarly => Status::Queued,
            Self::Lease | Self::Beat | Self::Take => Status::Running,
            Self::Complete | Self::Finish => Status::Succeeded,
            Self::Die | Self::Expire | Self::GiveUp => Status::Failed,
            Self::Cancel => Status::Cancelled,
        }
    }

    /// Clients are told of it. What only moves a job between the ways of being `queued` is nobody's news.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::Due | Self::Nudge | Self::Pass)
    }
}

/// The table as a Mermaid state diagram: what `ops/jobs.md` shows.
#[must_use]
pub fn diagram() -> String {
    let mut text =
        String::from("stateDiagram-v2\n    [*] --> queued: create\n    [*] --> delayed: create later\n");
    for (from, event, to) in TABLE {
        let said = serde_json::to_string(&event).unwrap_or_default();
        if writeln!(text, "    {} --> {}: {}", from.name(), to.name(), said.trim_matches('"')).is_err() {
            break;
        }
    }
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        if writeln!(text, "    {} --> [*]: forgotten", state.name()).is_err() {
            break;
        }
    }
    text
}
