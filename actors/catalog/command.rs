//! What the catalog can be asked, and what it answers. These types cross the stub as JSON bytes: a newer side may add
//! optional fields without breaking an older one while a deployment is under way.

use serde::{Deserialize, Serialize};

use super::REASON_BYTES_MAX;
use super::prices::{PriceVersion, PricesPage, StoredPrices};
use super::skills::{SkillPage, StoredSkill};
use super::terms::SkillTerms;
use crate::shared::{PriceTable, Refusal};

/// Who changes something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The version that is the current one to whoever asks; zero where there is none. Not said: whichever it is.
    pub expected_version: Option<i64>,
    /// Which of the operator's keys.
    pub by: String,
    pub reason: String,
}

impl Change {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let said = self.reason.trim();
        if said.is_empty() || self.reason.len() > REASON_BYTES_MAX {
            let expected = format!("say why in 1 to {REASON_BYTES_MAX} bytes");
            return Err(Refusal::InvalidSetting { field: "reason".to_owned(), expected });
        }
        Ok(())
    }

    /// # Errors
    /// `VersionConflict` when another version is the current one than was expected.
    pub(super) fn expects(&self, current: i64) -> Result<(), Refusal> {
        match self.expected_version {
            Some(expected) if expected != current => {
                Err(Refusal::VersionConflict { current_version: current })
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the change again that made `current`: its answer was lost, and it was sent once more.
    pub(super) fn is_repeated(&self, current: i64) -> bool {
        self.expected_version.is_none_or(|expected| expected.checked_add(1) == Some(current))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// All that is current, unless the revision is the one that is known; and keeps what the configuration says.
    Read {
        known_revision: Option<i64>,
        configured: Option<PriceTable>,
    },
    Prices {
        version: PriceVersion,
    },
    ListPrices {
        limit: u32,
        cursor: Option<String>,
    },
    PutPrices {
        prices: PriceTable,
        change: Change,
    },
    ListSkills,
    /// One version of a skill; the current one when none is said.
    Skill {
        name: String,
        version: Option<i64>,
    },
    ListSkillVersions {
        name: String,
        limit: u32,
        cursor: Option<String>,
    },
    PutSkill {
        name: String,
        terms: Box<SkillTerms>,
        change: Change,
    },
    DeleteSkill {
        name: String,
        change: Change,
    },
    /// Makes a new version that says what an old one did.
    RollBackSkill {
        name: String,
        version: i64,
        change: Change,
    },
}

/// All that is current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub revision: i64,
    /// `None` while nobody stored any: then what the configuration says counts.
    pub prices: Option<StoredPrices>,
    pub skills: Vec<StoredSkill>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Read {
        /// `None` when the known revision is the current one.
        snapshot: Option<Snapshot>,
        /// What the configuration says was brought along, and can be looked up from now on.
        configured_kept: bool,
    },
    Prices(StoredPrices),
    PricesPage(PricesPage),
    Skills(Vec<StoredSkill>),
    Skill(StoredSkill),
    SkillPage(SkillPage),
}
