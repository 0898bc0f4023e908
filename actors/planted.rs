//! Mistakes that somebody could make, one line each, at the place where it would be made. The simulator plants them
//! one at a time, to show that it finds each. Without the feature `planted` none is there: the hooks are constant.

#[cfg(all(feature = "planted", target_family = "wasm"))]
compile_error!("planted mistakes are for native tests; a Worker never has them");

/// A mistake, named by what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    DoubleSettle,
    LostRelease,
    GcraOffByOne,
    ClockStepBackGivesAllowance,
    MeterFollowsClockBack,
    KeyNotLookedUp,
    OtherBodyAccepted,
    HalfCommitted,
    ExpiredGrantSpent,
    WrongSpendingOrder,
    HoldReleasedTwice,
    ExpiredHoldCharged,
    ShortfallNotRecorded,
    OverdrawBeyondAvailable,
    TokensNotReconciled,
    TokensOverRefunded,
    InFlightOffByOne,
    CapIgnoresHeld,
    CapNotReset,
    CapResetByStepBack,
    PartialChargedTwice,
    AlarmSkipsDueHolds,
    AlarmNotAskedFor,
    ChainNotLinked,
    WrongTenantAccepted,
    FingerprintNeverExpires,
    ReleaseKeepsKey,
    LowBalanceToldAgain,
    DeliveredGoesOutAgain,
    LateWorkNotedTwice,
    RefusalCommitted,
    GrowthNotCounted,
    TopUpAskedOnce,
    LateReplyLost,
    LateTokensTwice,
    StaleEpochAccepted,
    OneRunsTooMany,
    PriorityIgnored,
    NudgeNotSentAgain,
    LostLeaseForgotten,
    AttemptsNotCounted,
    JobEventLost,
    DeadJobKeepsHold,
    CancelKeepsHold,
    ExpiredJobStaysOpen,
    SlotNotRefilled,
    DedupeIgnored,
    CompletionNotKnownAgain,
    RedriveTakesNoHold,
}

#[cfg(feature = "planted")]
impl Bug {
    /// All there are: the simulator must find each.
    pub const ALL: [Self; 49] = [
        Self::DoubleSettle,
        Self::LostRelease,
        Self::GcraOffByOne,
        Self::ClockStepBackGivesAllowance,
        Self::MeterFollowsClockBack,
        Self::KeyNotLookedUp,
        Self::OtherBodyAccepted,
        Self::HalfCommitted,
        Self::ExpiredGrantSpent,
        Self::WrongSpendingOrder,
        Self::HoldReleasedTwice,
        Self::ExpiredHoldCharged,
        Self::ShortfallNotRecorded,
        Self::OverdrawBeyondAvailable,
        Self::TokensNotReconciled,
        Self::TokensOverRefunded,
        Self::InFlightOffByOne,
        Self::CapIgnoresHeld,
        Self::CapNotReset,
        Self::CapResetByStepBack,
        Self::PartialChargedTwice,
        Self::AlarmSkipsDueHolds,
        Self::AlarmNotAskedFor,
        Self::ChainNotLinked,
        Self::WrongTenantAccepted,
        Self::FingerprintNeverExpires,
        Self::ReleaseKeepsKey,
        Self::LowBalanceToldAgain,
        Self::DeliveredGoesOutAgain,
        Self::LateWorkNotedTwice,
        Self::RefusalCommitted,
        Self::GrowthNotCounted,
        Self::TopUpAskedOnce,
        Self::LateReplyLost,
        Self::LateTokensTwice,
        Self::StaleEpochAccepted,
        Self::OneRunsTooMany,
        Self::PriorityIgnored,
        Self::NudgeNotSentAgain,
        Self::LostLeaseForgotten,
        Self::AttemptsNotCounted,
        Self::JobEventLost,
        Self::DeadJobKeepsHold,
        Self::CancelKeepsHold,
        Self::ExpiredJobStaysOpen,
        Self::SlotNotRefilled,
        Self::DedupeIgnored,
        Self::CompletionNotKnownAgain,
        Self::RedriveTakesNoHold,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a mistake for this thread, or none.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether the mistake is made.
#[cfg(feature = "planted")]
#[must_use]
pub fn on(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Never: this is the shipped code.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn on(_bug: Bug) -> bool {
    false
}
