//! From the platform's request to its response: the one way in, and the one way out.

use std::rc::Rc;

use wasm_bindgen::JsValue;
use web_sys::{Request, Response};
use worker::Env;

use super::context::{Acting, Context};
use super::error::{ApiError, ErrorForm};
use super::inbound::Inbound;
use super::operation::Operation;
use super::reply::{Body, Reply};
use super::routes::{self, Action, Match};
use super::{
    admin, ai_binding, ask, audio, auth, chat, cookie, cors, credentials, credits, embeddings, events,
    exchange, experiments, feedback, health, jobs, keys, ledger, models, openapi, prices, provider_health,
    skills, tenant_limits, tickets, upload, usage, voice,
};
use crate::platform::{config, log, now_ms, random_id};

/// Serves one request. Whatever happens, the client gets a reply in the contract's form.
pub async fn serve(request: Request, env: Env, event: JsValue, head: String) -> Response {
    let started_ms = now_ms();
    let inbound = Inbound::new(request, &head);
    let config = config::get(&env);
    let request_id = request_id(&inbound);
    let (method, origin) = (inbound.method.clone(), inbound.header("origin"));
    let Served { reply, route, acting } = if method == "OPTIONS" {
        Served::unknown(cors::preflight(&inbound), "preflight")
    } else {
        route(inbound, env, Rc::clone(&config), event, &request_id).await
    };
    let served = Served { reply, route, acting };
    finish(served, &Asked { method: &method, origin: origin.as_deref(), request_id, started_ms }, &config)
}

/// Answers a request whose work was lost with the memory it was in: as every other, with its CORS headers, its id and
/// its line in the log. It began at `started_ms`.
pub fn lost(request: Request, env: &Env, head: &str, started_ms: i64) -> Response {
    let inbound = Inbound::new(request, head);
    let request_id = request_id(&inbound);
    let route = match routes::find(&inbound.method, &inbound.path) {
        Match::Found(_, name) | Match::WrongMethod { route: name, .. } => name,
        Match::Unknown => "unknown",
    };
    let reply = Reply::error(&ApiError::Unavailable, &request_id, ErrorForm::of(&inbound.path));
    let origin = inbound.header("origin");
    let asked = Asked { method: &inbound.method, origin: origin.as_deref(), request_id, started_ms };
    finish(Served::unknown(reply, route), &asked, &config::get(env))
}

/// What of a request its reply and its log line need.
struct Asked<'a> {
    method: &'a str,
    origin: Option<&'a str>,
    request_id: String,
    started_ms: i64,
}

/// The line in the log, and what every response carries.
fn finish(served: Served, asked: &Asked<'_>, config: &config::Config) -> Response {
    let Served { reply, route, acting } = served;
    log::request(&log::RequestLine {
        event: "request",
        request_id: &asked.request_id,
        method: known_method(asked.method),
        route,
        status: reply.status,
        duration_ms: now_ms().saturating_sub(asked.started_ms),
        actor: acting.tenant.as_deref(),
        operator: acting.operator,
        admin_key: acting.admin_key,
        provider: reply.header("x-provider"),
        error: reply.error,
    });
    let reply = cors::finish(reply, asked.origin, &config.allowed_origins);
    let mut reply = reply.with("x-request-id", asked.request_id.clone());
    if asked.method == "HEAD" {
        reply.body = Body::Empty;
    }
    reply.into_response()
}

/// A reply, and what the log says of its request.
struct Served {
    reply: Reply,
    route: &'static str,
    acting: Acting,
}

impl Served {
    /// For no tenant that is known.
    fn unknown(reply: Reply, route: &'static str) -> Self {
        Self { reply, route, acting: Acting::default() }
    }
}

async fn route(
    inbound: Inbound,
    env: Env,
    config: Rc<config::Config>,
    event: JsValue,
    request_id: &str,
) -> Served {
    let form = ErrorForm::of(&inbound.path);
    let failed = |error: &ApiError| Reply::error(error, request_id, form);
    if let Some(error) = inbound.excess() {
        return Served::unknown(failed(error), "unknown");
    }
    let (action, name) = match routes::find(&inbound.method, &inbound.path) {
        Match::Found(action, name) => (action, name),
        Match::Unknown => return Served::unknown(failed(&ApiError::NotFound), "unknown"),
        Match::WrongMethod { allow, route } => {
            return Served::unknown(failed(&ApiError::MethodNotAllowed { allow }), route);
        }
    };
    // A wrong configuration could spend somebody's credits, so it serves nobody; the operator still sees why.
    let spends_nothing = matches!(action, Action::Ready | Action::Health | Action::OpenApi);
    if !config.problems.is_empty() && !spends_nothing {
        return Served::unknown(failed(&ApiError::Misconfigured), name);
    }
    let operation = Operation { env, config, request_id: request_id.to_owned(), route: name, event };
    let context = Rc::new(Context::new(operation, inbound));
    let reply = match act(action, &context).await {
        Ok(reply) => reply,
        Err(error) => failed(&error),
    };
    let reply = match context.take_standing() {
        Some(standing) => reply.standing(&standing),
        None => reply,
    };
    let reply = if context.was_asserted() { reply.with("x-identity-source", "asserted") } else { reply };
    Served { reply, route: name, acting: context.acting() }
}

async fn act(action: Action, context: &Rc<Context>) -> Result<Reply, ApiError> {
    credentials::judge(context, action).await?;
    match action {
        Action::GuestToken => auth::guest(context).await,
        Action::KeyCreate => keys::create(context).await,
        Action::KeyList => keys::list(context).await,
        Action::KeyRevoke => keys::revoke(context).await,
        Action::UserToken => auth::user_token(context).await,
        Action::Exchange => exchange::exchange(context).await,
        Action::CookieKeep => cookie::keep(context).await,
        Action::Logout => cookie::logout(context),
        Action::Jwks => auth::jwks(context).await,
        Action::Balance => credits::balance(context).await,
        Action::Adjust => credits::adjust(context).await,
        Action::Ledger => ledger::entries(context).await,
        Action::Holds => ledger::holds(context).await,
        Action::Notices => ledger::notices(context).await,
        Action::Verify => ledger::verify(context).await,
        Action::LimitsShow => tenant_limits::show(context).await,
        Action::LimitsSet => tenant_limits::set(context).await,
        Action::TicketMint => tickets::mint(context).await,
        Action::EventsOpen => events::open(context).await,
        Action::UsageList => usage::list(context).await,
        Action::UsageRecord => usage::record(context).await,
        Action::Ask => ask::ask(context).await,
        Action::Chat => chat::complete(context).await,
        Action::Embeddings => embeddings::embed(context).await,
        Action::Speech => audio::speech::speak(context).await,
        Action::SpeechBatch => audio::batch::speak(context).await,
        Action::Transcription => audio::transcription::transcribe(context).await,
        Action::Upload => upload::direct(context).await,
        Action::ModelList => models::list(context).await,
        Action::ModelShow => models::show(context).await,
        Action::SkillsForAll => skills::list_for_all(context).await,
        Action::PricesShow => prices::show(context).await,
        Action::PricesSet => prices::set(context).await,
        Action::SkillList => skills::list(context).await,
        Action::SkillShow => skills::show(context).await,
        Action::SkillSet => skills::set(context).await,
        Action::SkillDelete => skills::delete(context).await,
        Action::SkillRollBack => skills::roll_back(context).await,
        Action::Feedback => feedback::take(context).await,
        Action::ExperimentList => experiments::list(context).await,
        Action::ExperimentShow => experiments::show(context).await,
        Action::ExperimentDefine => experiments::define(context).await,
        Action::ExperimentSteer(wish) => experiments::steer(context, wish).await,
        Action::JobCreate => jobs::create(context).await,
        Action::JobList => jobs::list(context).await,
        Action::JobRun => jobs::run(context).await,
        Action::JobStats => jobs::stats(context).await,
        Action::JobDead => jobs::dead(context).await,
        Action::JobRedrive => jobs::redrive(context).await,
        Action::JobShow => jobs::show(context).await,
        Action::JobPatch => jobs::patch(context).await,
        Action::JobDownload => jobs::download(context).await,
        Action::JobCancel => jobs::cancel(context).await,
        Action::JobRetry => jobs::retry(context).await,
        Action::ScheduleList => jobs::list_schedules(context).await,
        Action::ScheduleShow => jobs::show_schedule(context).await,
        Action::ScheduleSet => jobs::set_schedule(context).await,
        Action::ScheduleDelete => jobs::delete_schedule(context).await,
        Action::VoiceCreate => voice::create(context).await,
        Action::VoiceList => voice::list(context).await,
        Action::VoiceShow => voice::show(context).await,
        Action::VoiceEnd => voice::end(context).await,
        Action::VoiceSocket => voice::open_socket(context).await,
        Action::VoicePrefsShow => voice::show_prefs(context).await,
        Action::VoicePrefsSet => voice::set_prefs(context).await,
        Action::RealtimeToken => voice::realtime_token(context).await,
        Action::AiBinding => Ok(ai_binding::bound(context)),
        Action::AiTest => ai_binding::test(context).await,
        Action::AdminPing => admin::ping(context),
        Action::EnvSnapshot => admin::env_snapshot(context),
        Action::ProviderHealth => provider_health::overview(context),
        Action::Ready => Ok(health::ready(context)),
        Action::Health => Ok(health::healthy()),
        Action::OpenApi => Ok(openapi::serve()),
        Action::NotImplemented => Err(ApiError::NotImplemented),
    }
}

/// The platform's id of the request when it has one, so that both logs can be read together; else our own.
fn request_id(inbound: &Inbound) -> String {
    let ray = inbound.header_filled("cf-ray");
    ray.filter(|id| log::is_request_id(id)).unwrap_or_else(random_id)
}

/// A method can be any word; only those we know reach a log.
fn known_method(method: &str) -> &str {
    const KNOWN: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if KNOWN.contains(&method) { method } else { "OTHER" }
}
