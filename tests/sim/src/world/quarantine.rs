//! The end of some runs: an actor in quarantine answers questions and changes nothing, its alarm neither.

use actors::shared::Refusal;
use actors::tenant;

use super::World;
use crate::check::dump::{holds_still, image};
use crate::check::holds;
use crate::command::{Adjust, Change, Cmd, Question, Settle, Used};
use crate::step::Fault;

impl World<'_> {
    pub(super) fn quarantine(&mut self, at: usize) -> Result<(), String> {
        let noted = self.tenants[at].shell.database.transaction(|sql| tenant::quarantine(sql, "simulated"));
        noted.map_err(|refusal| format!("quarantine was refused: {refusal:?}"))?;
        self.tenants[at].shell.evict();
        // A question wakes it, and is answered as before.
        self.send(at, Cmd::Ask(Question::Balance), Fault::None)?;
        let now_ms = self.now_ms;
        let tenant = &mut self.tenants[at];
        let before = image(&tenant.shell.database);
        let used = Used { tokens_in: 1, tokens_out: 1, model: None };
        for cmd in [
            Cmd::Adjust(Adjust { operation: 800_000, change: Change::Delta(1), key: None }),
            Cmd::Settle(Settle { hold: 0, charge: 1, used, reply: false }),
            Cmd::Release(0),
        ] {
            let done = tenant.shell.handle(&tenant.id, cmd.build(), now_ms, Fault::None);
            let refused = matches!(done.said, Some(Err(Refusal::Quarantined)));
            holds(refused, || format!("{cmd:?} was carried out in quarantine"))?;
        }
        tenant.shell.ring(now_ms, Fault::None);
        for seq in tenant.model.state.notices.iter().map(|notice| notice.seq) {
            tenant.shell.note_attempt(seq, 1, true, now_ms, Fault::None);
        }
        holds(holds_still(&mut tenant.shell.database, &before), || "a change in quarantine".to_owned())?;
        self.tally.check("quarantines");
        Ok(())
    }
}
