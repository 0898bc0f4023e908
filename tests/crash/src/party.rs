//! The tenants of a run: a hot one that meets itself all the time, calm ones, and one that is short of credit.

use crate::operation::Request;
use http_tests::world::{Tenant, World};
use std::ops::RangeInclusive;

pub struct Party {
    pub tenant: Tenant,
    /// Of how many operations it has a share.
    pub weight: u64,
    /// What it begins with, given by an adjustment like every other.
    pub start_milli: i64,
    /// What operators change its balance by.
    pub deltas_milli: RangeInclusive<i64>,
    /// Whether a metered request of it must succeed after a restart. One that is short of credit may have all of
    /// it in holds that the kill left.
    pub probed: bool,
}

/// Small against `START_MILLI`: these tenants never run out.
const RICH_DELTAS_MILLI: RangeInclusive<i64> = -20..=40;
const START_MILLI: i64 = 1_000_000;
/// A few holds, so that refusals for credit, shortfalls and overdue holds matter.
const SCARCE_START_MILLI: i64 = 100;
const SCARCE_DELTAS_MILLI: RangeInclusive<i64> = -100..=160;

pub async fn gather(world: &World) -> Vec<Party> {
    let mut parties = Vec::new();
    for (name, weight) in [("hot", 6), ("calm", 2), ("calm-too", 2)] {
        parties.push(Party {
            tenant: world.tenant(name, 0.0).await,
            weight,
            start_milli: START_MILLI,
            deltas_milli: RICH_DELTAS_MILLI,
            probed: true,
        });
    }
    parties.push(Party {
        tenant: world.tenant("scarce", 0.0).await,
        weight: 1,
        start_milli: SCARCE_START_MILLI,
        deltas_milli: SCARCE_DELTAS_MILLI,
        probed: false,
    });
    parties
}

impl Party {
    pub const fn opening(&self) -> Request {
        Request::Adjust { delta_milli: self.start_milli }
    }
}
