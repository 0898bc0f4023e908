//! What is under way, whoever caused it: a request at the front door, or an attempt at a job.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use worker::Env;

use crate::platform::config::Config;
use crate::platform::tenant_stub::Origin;

/// What all work needs that asks providers or actors, beside what it is to do.
#[derive(Clone)]
pub struct Operation {
    pub env: Env,
    pub config: Rc<Config>,
    /// The request that it is part of, in every line of the log and every usage row.
    pub request_id: String,
    /// The pattern of the route that it came by.
    pub route: &'static str,
    /// The runtime's handle on this event, for work that outlives the reply.
    pub event: JsValue,
}

impl Operation {
    /// This operation, for the actors it asks.
    pub fn origin(&self) -> Origin<'_> {
        Origin { env: &self.env, request_id: &self.request_id }
    }
}
