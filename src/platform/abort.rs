//! Ending a provider's call when nobody wants its answer any more.

use web_sys::{AbortController, AbortSignal};

/// Aborts the call when dropped, unless it was let go.
pub struct AbortGuard {
    controller: Option<AbortController>,
}

impl AbortGuard {
    pub fn new() -> Self {
        Self { controller: AbortController::new().ok() }
    }

    pub fn signal(&self) -> Option<AbortSignal> {
        self.controller.as_ref().map(AbortController::signal)
    }

    /// The call is complete; there is nothing to abort.
    pub fn let_go(mut self) {
        self.controller = None;
    }
}

impl Drop for AbortGuard {
    fn drop(&mut self) {
        if let Some(controller) = &self.controller {
            controller.abort();
        }
    }
}
