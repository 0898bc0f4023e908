//! This isolate's copy of the catalog: current prices and skills, so that an ask costs no hop for them.
//!
//! The first who needs it waits for it. Later ones are served what is there while one of them has it read again, once
//! in `CATALOG_TTL_MS`. Each waits for its own read, because no two requests may share a promise. Whoever changes the
//! catalog here makes the copy old at once, so an isolate sees its own changes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use actors::catalog::{Command, ConfiguredPrices, GENERAL, PriceVersion, Reply, SkillTerms, Snapshot};
use actors::shared::{PriceTable, Refusal};

use super::context::Context;
use super::error::ApiError;
use super::operation::Operation;
use super::pricing::Pricing;
use crate::platform::config::Config;
use crate::platform::{catalog_stub, log, now_ms, task, timer};

/// How long a read may take, in milliseconds. The first ask of an isolate waits no longer for it.
const READ_MS_MAX: i64 = 3_000;
/// After a read that failed, asks are served what is there for so long before one waits again.
const READ_RETRY_MS: i64 = 1_000;

/// All that an ask needs of the catalog.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    pub prices: Rc<PriceTable>,
    pub price_version: PriceVersion,
    /// By name. [`GENERAL`] is always there.
    skills: HashMap<String, Rc<Skill>>,
}

/// One skill in its current version; version 0 is what is built in.
#[derive(Debug, PartialEq, Eq)]
pub struct Skill {
    pub name: String,
    pub version: i64,
    pub terms: SkillTerms,
}

impl Known {
    fn new(snapshot: Snapshot, configured: &ConfiguredPrices) -> Self {
        let (prices, price_version) = match snapshot.prices {
            Some(stored) => (stored.prices, PriceVersion::Stored(stored.note.version)),
            None => (configured.prices.clone(), configured.version.clone()),
        };
        let built_in = Skill { name: GENERAL.to_owned(), version: 0, terms: SkillTerms::built_in() };
        let mut skills = HashMap::from([(GENERAL.to_owned(), Rc::new(built_in))]);
        for stored in snapshot.skills {
            let Some(terms) = stored.terms else { continue };
            let skill = Skill { name: stored.name.clone(), version: stored.note.version, terms };
            skills.insert(stored.name, Rc::new(skill));
        }
        Self { prices: Rc::new(prices), price_version, skills }
    }

    /// What serves while nothing is known of what is stored.
    fn configured(configured: &ConfiguredPrices) -> Self {
        Self::new(Snapshot { revision: 0, prices: None, skills: Vec::new() }, configured)
    }

    /// The skill of that name, in whatever case; [`GENERAL`] for a name that none has.
    pub fn skill(&self, name: &str) -> Rc<Skill> {
        let found = self.skills.get(&name.to_ascii_lowercase()).or_else(|| self.skills.get(GENERAL));
        found.cloned().unwrap_or_else(|| {
            Rc::new(Skill { name: GENERAL.to_owned(), version: 0, terms: SkillTerms::built_in() })
        })
    }

    /// Those that can be asked for, by name.
    pub fn enabled(&self) -> Vec<&Skill> {
        let mut enabled: Vec<&Skill> =
            self.skills.values().map(Rc::as_ref).filter(|skill| skill.terms.enabled).collect();
        enabled.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        enabled
    }

    /// By what a request is charged that this skill answers, or none.
    pub fn pricing(&self, skill: Option<&Skill>) -> Pricing {
        let skill_price = skill.and_then(|skill| skill.terms.price);
        Pricing { prices: Rc::clone(&self.prices), version: self.price_version.clone(), skill_price }
    }
}

/// What is known, and how old it is.
#[derive(Default)]
struct Copy {
    known: Option<Rc<Known>>,
    revision: Option<i64>,
    read_at_ms: i64,
    /// Reads are numbered as they begin: what a later one found is never replaced by what an earlier one did.
    last_read: u64,
    landed_read: u64,
    /// The first read that sees what this isolate changed. What earlier ones found is served only in need.
    first_read: u64,
    /// A read that nobody waits for. One whose request went away is never heard of again.
    refreshing_since_ms: Option<i64>,
    failed_at_ms: Option<i64>,
    /// The actor has what the configuration says.
    configured_kept: bool,
}

/// What a request that needs the catalog does.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Use(Rc<Known>),
    /// Use it, and have it read again meanwhile.
    Refresh(Rc<Known>),
    Wait,
    /// The catalog did not answer a moment ago.
    DoWithout,
}

impl Copy {
    fn next(&mut self, ttl_ms: i64, now_ms: i64) -> Next {
        let recently = |at_ms: Option<i64>, for_ms: i64| {
            at_ms.is_some_and(|at_ms| (0..for_ms).contains(&now_ms.saturating_sub(at_ms)))
        };
        let Some(known) = self.known.clone().filter(|_| self.landed_read >= self.first_read) else {
            return if recently(self.failed_at_ms, READ_RETRY_MS) { Next::DoWithout } else { Next::Wait };
        };
        if recently(Some(self.read_at_ms), ttl_ms)
            || recently(self.refreshing_since_ms, READ_MS_MAX)
            || recently(self.failed_at_ms, READ_RETRY_MS.min(ttl_ms))
        {
            return Next::Use(known);
        }
        self.refreshing_since_ms = Some(now_ms);
        Next::Refresh(known)
    }

    fn begin_read(&mut self) -> u64 {
        self.last_read = self.last_read.saturating_add(1);
        self.last_read
    }

    /// What read number `read` found; nothing, when it was told that `asked_with` is the current revision.
    fn land(&mut self, read: u64, asked_with: Option<i64>, found: Option<(i64, Known)>, now_ms: i64) {
        self.failed_at_ms = None;
        if read <= self.landed_read || read < self.first_read {
            return;
        }
        match found {
            Some((revision, known)) => {
                self.known = Some(Rc::new(known));
                self.revision = Some(revision);
            }
            None if asked_with == self.revision => {}
            // Another read brought something else meanwhile: this one says nothing of it.
            None => return,
        }
        self.landed_read = read;
        self.read_at_ms = now_ms;
    }

    /// This isolate changed the catalog: only reads that begin from now on count.
    fn changed(&mut self) {
        self.first_read = self.last_read.saturating_add(1);
    }
}

thread_local! {
    static COPY: RefCell<Copy> = RefCell::default();
    static CONFIGURED: RefCell<Option<Rc<ConfiguredPrices>>> = const { RefCell::new(None) };
}

/// Prices as the configuration has them, and what they are called.
pub fn configured(config: &Config) -> Rc<ConfiguredPrices> {
    CONFIGURED.with_borrow_mut(|kept| {
        let made = kept.get_or_insert_with(|| Rc::new(ConfiguredPrices::new((*config.prices).clone())));
        Rc::clone(made)
    })
}

/// The catalog as this isolate knows it. There is always one: when nothing can be read, what was read before; and
/// before anything was, what the configuration says.
pub async fn current(operation: &Operation) -> Rc<Known> {
    let next = COPY.with_borrow_mut(|copy| copy.next(operation.config.catalog_ttl_ms, now_ms()));
    match next {
        Next::Use(known) => return known,
        Next::Refresh(known) => {
            let refreshing = operation.clone();
            task::keep_alive(&operation.event, async move {
                read(&refreshing).await;
                COPY.with_borrow_mut(|copy| copy.refreshing_since_ms = None);
            });
            return known;
        }
        Next::Wait => read(operation).await,
        Next::DoWithout => {}
    }
    COPY.with_borrow(|copy| copy.known.clone())
        .unwrap_or_else(|| Rc::new(Known::configured(&configured(&operation.config))))
}

/// Reads the catalog, if there is something newer than what is known. A failure is logged, and what is known stays.
async fn read(operation: &Operation) {
    let configured = configured(&operation.config);
    let (read, known_revision, kept) = COPY.with_borrow_mut(|copy| {
        (copy.begin_read(), copy.known.as_ref().and(copy.revision), copy.configured_kept)
    });
    let brought = (!kept).then(|| configured.prices.clone());
    let was_brought = brought.is_some();
    let command = Command::Read { known_revision, configured: brought };
    let answer = timer::within(READ_MS_MAX, catalog_stub::send(operation.origin(), &command)).await;
    match answer {
        Ok(Ok(Reply::Read { snapshot, configured_kept })) => {
            if was_brought && !configured_kept {
                let detail =
                    "no more tables of configurations are kept; charges by this one cannot be recomputed";
                log::fault_of(&operation.request_id, "configured_prices_not_kept", detail);
            }
            let found = snapshot.map(|snapshot| (snapshot.revision, Known::new(snapshot, &configured)));
            COPY.with_borrow_mut(|copy| {
                copy.configured_kept = true;
                copy.land(read, known_revision, found, now_ms());
            });
        }
        failed => {
            // What did not answer at all was logged where it was asked.
            if !matches!(failed, Ok(Err(_))) {
                let detail = "no answer in time, or another than was asked for";
                log::fault_of(&operation.request_id, "catalog_unreachable", detail);
            }
            COPY.with_borrow_mut(|copy| copy.failed_at_ms = Some(now_ms()));
        }
    }
}

/// Asks the catalog's actor, for an operator.
///
/// # Errors
/// The actor's refusal, as clients see it.
pub async fn ask(context: &Context, command: &Command) -> Result<Reply, ApiError> {
    catalog_stub::send(context.origin(), command).await.map_err(ApiError::from)
}

/// The same for a command that changes the catalog. Before its answer is given away, this isolate knows what it did.
///
/// # Errors
/// The actor's refusal, as clients see it.
pub async fn change(context: &Context, command: &Command) -> Result<Reply, ApiError> {
    let answer = catalog_stub::send(context.origin(), command).await;
    // After a failure it may have been done.
    if matches!(answer, Ok(_) | Err(Refusal::Storage { .. })) {
        COPY.with_borrow_mut(Copy::changed);
        read(context).await;
    }
    answer.map_err(ApiError::from)
}

#[cfg(test)]
mod tests;
