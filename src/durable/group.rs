//! Group commit: commands that reach an actor together share one commit.
//!
//! A commit is the price of a command: the runtime syncs the disk once for all that one turn wrote, and holds
//! every reply of the turn back until it has. So commands are gathered while the disk is busy, and run together
//! in the next turn, each in a transaction of its own: one that is refused or traps undoes itself and nothing
//! else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use actors::shared::Refusal;
use futures::channel::oneshot;

use super::tenant::Tenant;
use crate::platform::tenant_stub::Answer;
use crate::platform::timer;

/// Commands of one group: at a fifth of a millisecond each, a turn of some tens of milliseconds.
const GROUP_COMMANDS_MAX: usize = 128;
/// Commands that may wait for their turn. Beyond it the actor says that it is busy instead of growing.
const WAITING_COMMANDS_MAX: usize = 4_096;

struct Waiting {
    call: Vec<u8>,
    reply_to: oneshot::Sender<Answer>,
}

/// The commands that wait for the next turn.
#[derive(Default)]
pub struct Group {
    waiting: RefCell<VecDeque<Waiting>>,
    scheduled: Cell<bool>,
}

/// Runs a command in the actor's next turn, together with what else came.
///
/// # Errors
/// The command's refusal; `Storage` when too many wait.
pub async fn submit(tenant: &Rc<Tenant>, call: Vec<u8>) -> Answer {
    let (reply_to, reply) = oneshot::channel();
    {
        let mut waiting = tenant.group().waiting.borrow_mut();
        if waiting.len() >= WAITING_COMMANDS_MAX {
            return Err(Refusal::Storage { detail: "too many commands wait".to_owned() });
        }
        waiting.push_back(Waiting { call, reply_to });
    }
    schedule(tenant);
    reply.await.unwrap_or_else(|_| Err(Refusal::Storage { detail: "the turn was lost".to_owned() }))
}

/// Has the group run in a turn of its own, unless one is on its way. The turn belongs to the actor and to no
/// request, so none that goes away takes it along.
fn schedule(tenant: &Rc<Tenant>) {
    if tenant.group().scheduled.replace(true) {
        return;
    }
    let of_turn = Rc::clone(tenant);
    if timer::next_turn(move || run(&of_turn)).is_err() {
        run(tenant);
    }
}

fn run(tenant: &Rc<Tenant>) {
    tenant.group().scheduled.set(false);
    for _ in 0..GROUP_COMMANDS_MAX {
        // Taken one by one: what is still waiting when a command traps runs in the next turn.
        let Some(next) = tenant.group().waiting.borrow_mut().pop_front() else {
            return;
        };
        let answer = tenant.answer(&next.call);
        let _caller_may_be_gone = next.reply_to.send(answer);
    }
    if !tenant.group().waiting.borrow().is_empty() {
        schedule(tenant);
    }
}
