//! The route table: every path and alias, and what each method of it does.

use super::experiments::Wish;

/// What a route does. One variant a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    KeyCreate,
    KeyList,
    KeyRevoke,
    GuestToken,
    UserToken,
    Exchange,
    CookieKeep,
    Logout,
    Jwks,
    Balance,
    Adjust,
    Ledger,
    Holds,
    Notices,
    Verify,
    LimitsShow,
    LimitsSet,
    TicketMint,
    EventsOpen,
    UsageList,
    UsageRecord,
    Ask,
    Chat,
    Embeddings,
    Speech,
    SpeechBatch,
    Transcription,
    Upload,
    ModelList,
    ModelShow,
    SkillsForAll,
    PricesShow,
    PricesSet,
    SkillList,
    SkillShow,
    SkillSet,
    SkillDelete,
    SkillRollBack,
    Feedback,
    ExperimentList,
    ExperimentShow,
    ExperimentDefine,
    ExperimentSteer(Wish),
    JobCreate,
    JobList,
    JobRun,
    JobStats,
    JobDead,
    JobRedrive,
    JobShow,
    JobPatch,
    JobDownload,
    JobCancel,
    JobRetry,
    ScheduleList,
    ScheduleShow,
    ScheduleSet,
    ScheduleDelete,
    VoiceCreate,
    VoiceList,
    VoiceShow,
    VoiceEnd,
    VoiceSocket,
    VoicePrefsShow,
    VoicePrefsSet,
    RealtimeToken,
    AiBinding,
    AiTest,
    AdminPing,
    EnvSnapshot,
    ProviderHealth,
    Ready,
    Health,
    OpenApi,
    /// In the contract, and not built yet.
    NotImplemented,
}

pub struct Route {
    /// Paths that mean the same. `:id` stands for one segment. The first is the route's name.
    paths: &'static [&'static str],
    methods: &'static [(&'static str, Action)],
}

const GET: &str = "GET";
const POST: &str = "POST";
const PUT: &str = "PUT";
const PATCH: &str = "PATCH";
const DELETE: &str = "DELETE";

use Action::{
    Adjust, AdminPing, AiBinding, AiTest, Ask, Balance, Chat, CookieKeep, Embeddings, EnvSnapshot,
    EventsOpen, Exchange, ExperimentDefine, ExperimentList, ExperimentShow, ExperimentSteer, Feedback,
    GuestToken, Health, Holds, JobCancel, JobCreate, JobDead, JobDownload, JobList, JobPatch, JobRedrive,
    JobRetry, JobRun, JobShow, JobStats, Jwks, KeyCreate, KeyList, KeyRevoke, Ledger, LimitsSet, LimitsShow,
    Logout, ModelList, ModelShow, NotImplemented, Notices, OpenApi, PricesSet, PricesShow, ProviderHealth,
    Ready, RealtimeToken, ScheduleDelete, ScheduleList, ScheduleSet, ScheduleShow, SkillDelete, SkillList,
    SkillRollBack, SkillSet, SkillShow, SkillsForAll, Speech, SpeechBatch, TicketMint, Transcription, Upload,
    UsageList, UsageRecord, UserToken, Verify, VoiceCreate, VoiceEnd, VoiceList, VoicePrefsSet,
    VoicePrefsShow, VoiceShow, VoiceSocket,
};

impl Route {
    /// Its paths, the first of which is its name.
    pub const fn paths(&self) -> &'static [&'static str] {
        self.paths
    }

    pub fn name(&self) -> &'static str {
        self.paths.first().copied().unwrap_or_default()
    }

    pub const fn methods(&self) -> &'static [(&'static str, Action)] {
        self.methods
    }
}

const fn route(paths: &'static [&'static str], methods: &'static [(&'static str, Action)]) -> Route {
    Route { paths, methods }
}

/// Routes of today, the busiest first.
const BUILT: &[Route] = &[
    route(&["/api/si/ask", "/si/ask"], &[(POST, Ask)]),
    route(&["/v1/chat/completions"], &[(POST, Chat)]),
    route(
        &["/api/credits", "/credits", "/api/v1/credits", "/api/billing/balance", "/api/v1/billing/balance"],
        &[(GET, Balance)],
    ),
    route(
        &[
            "/api/billing/usage",
            "/billing/usage",
            "/api/usage",
            "/usage",
            "/api/v1/usage",
            "/api/v1/billing/usage",
        ],
        &[(GET, UsageList), (POST, UsageRecord)],
    ),
    route(&["/api/jobs"], &[(GET, JobList), (POST, JobCreate)]),
    route(&["/api/jobs/run"], &[(POST, JobRun)]),
    route(&["/api/jobs/stats"], &[(GET, JobStats)]),
    route(&["/api/jobs/dead"], &[(GET, JobDead)]),
    route(&["/api/jobs/dead/redrive"], &[(POST, JobRedrive)]),
    route(&["/api/jobs/schedules"], &[(GET, ScheduleList)]),
    route(&["/api/jobs/schedules/:id"], &[(GET, ScheduleShow), (PUT, ScheduleSet), (DELETE, ScheduleDelete)]),
    route(&["/api/jobs/:id"], &[(GET, JobShow), (PATCH, JobPatch)]),
    route(&["/api/jobs/:id/download"], &[(GET, JobDownload)]),
    route(&["/api/jobs/:id/cancel"], &[(POST, JobCancel)]),
    route(&["/api/jobs/:id/retry"], &[(POST, JobRetry)]),
    route(&["/auth/guest", "/api/auth/guest", "/api/v1/auth/guest"], &[(POST, GuestToken)]),
    route(&["/auth/exchange"], &[(POST, Exchange)]),
    route(&["/auth/cookie"], &[(POST, CookieKeep)]),
    route(&["/auth/logout", "/api/auth/logout", "/api/v1/auth/logout"], &[(POST, Logout)]),
    route(&["/api/keys"], &[(GET, KeyList), (POST, KeyCreate)]),
    route(&["/api/keys/:id"], &[(DELETE, KeyRevoke)]),
    route(&["/v1/embeddings"], &[(POST, Embeddings)]),
    route(&["/v1/audio/speech"], &[(POST, Speech)]),
    route(&["/v1/audio/transcriptions"], &[(POST, Transcription)]),
    route(&["/api/tts/cartesia/batch"], &[(POST, SpeechBatch)]),
    route(&["/api/upload/direct"], &[(POST, Upload)]),
    route(&["/v1/models"], &[(GET, ModelList)]),
    route(&["/v1/models/:id"], &[(GET, ModelShow)]),
    route(&["/api/tickets"], &[(POST, TicketMint)]),
    route(&["/api/events"], &[(GET, EventsOpen)]),
    route(&["/api/admin/tokens"], &[(POST, UserToken)]),
    route(&["/.well-known/jwks.json"], &[(GET, Jwks)]),
    route(&["/api/credits/adjust"], &[(POST, Adjust)]),
    route(&["/api/credits/ledger"], &[(GET, Ledger)]),
    route(&["/api/credits/holds"], &[(GET, Holds)]),
    route(&["/api/credits/verify"], &[(GET, Verify)]),
    route(&["/api/credits/notices"], &[(GET, Notices)]),
    route(&["/api/credits/limits"], &[(GET, LimitsShow), (PUT, LimitsSet)]),
    route(&["/api/skills"], &[(GET, SkillsForAll)]),
    route(&["/api/admin/prices"], &[(GET, PricesShow), (PUT, PricesSet)]),
    route(&["/api/admin/skills"], &[(GET, SkillList)]),
    route(&["/api/admin/skills/:name"], &[(GET, SkillShow), (PUT, SkillSet), (DELETE, SkillDelete)]),
    route(&["/api/admin/skills/:name/rollback"], &[(POST, SkillRollBack)]),
    route(&["/api/si/feedback"], &[(POST, Feedback)]),
    route(&["/api/admin/experiments"], &[(GET, ExperimentList)]),
    route(&["/api/admin/experiments/:skill"], &[(GET, ExperimentShow), (PUT, ExperimentDefine)]),
    route(&["/api/admin/experiments/:skill/pause"], &[(POST, ExperimentSteer(Wish::Pause))]),
    route(&["/api/admin/experiments/:skill/resume"], &[(POST, ExperimentSteer(Wish::Resume))]),
    route(&["/api/admin/experiments/:skill/pin"], &[(POST, ExperimentSteer(Wish::Pin))]),
    route(&["/api/admin/experiments/:skill/promote"], &[(POST, ExperimentSteer(Wish::Promote))]),
    route(&["/api/admin/experiments/:skill/withdraw"], &[(POST, ExperimentSteer(Wish::Withdraw))]),
    route(&["/api/voice/sessions"], &[(GET, VoiceList), (POST, VoiceCreate)]),
    route(&["/api/voice/sessions/:id"], &[(GET, VoiceShow), (DELETE, VoiceEnd)]),
    route(&["/api/voice/sessions/:id/ws"], &[(GET, VoiceSocket)]),
    route(&["/api/voice/prefs"], &[(GET, VoicePrefsShow), (PUT, VoicePrefsSet)]),
    route(&["/api/tts/cartesia/realtime-token"], &[(GET, RealtimeToken)]),
    route(&["/api/ai/binding"], &[(GET, AiBinding)]),
    route(&["/api/ai/test"], &[(POST, AiTest)]),
    route(&["/api/admin/ping"], &[(GET, AdminPing), (POST, AdminPing)]),
    route(&["/api/admin/env-snapshot"], &[(GET, EnvSnapshot)]),
    route(&["/api/admin/providers"], &[(GET, ProviderHealth)]),
    route(&["/ready"], &[(GET, Ready)]),
    route(&["/healthz", "/api/healthz", "/api/v1/healthz", "/health", "/api/health"], &[(GET, Health)]),
    route(&["/openapi.json"], &[(GET, OpenApi)]),
];

/// Routes of the contract that answer 501 until they are built.
const TO_COME: &[Route] = &[
    route(&["/v1/files/upload"], &[(POST, NotImplemented)]),
    route(&["/api/files"], &[(GET, NotImplemented)]),
    route(&["/api/files/:id"], &[(GET, NotImplemented), (DELETE, NotImplemented)]),
    route(&["/v1/realtime"], &[(GET, NotImplemented)]),
    route(&["/api/admin/cleanup"], &[(POST, NotImplemented)]),
    route(&["/api/admin/backfill"], &[(POST, NotImplemented)]),
    route(&["/api/admin/drift"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/state"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/ledger"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/jobs"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/events"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/sql"], &[(GET, NotImplemented), (POST, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/verify"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/at"], &[(GET, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/redrive"], &[(POST, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/release-hold"], &[(POST, NotImplemented)]),
    route(&["/api/admin/actors/:kind/:id/evict"], &[(POST, NotImplemented)]),
    route(&["/metrics"], &[(GET, NotImplemented)]),
];

/// What the table says of a method and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The action, and the route's name for logs.
    Found(Action, &'static str),
    /// The path is known, the method is not; these are.
    WrongMethod {
        allow: String,
        route: &'static str,
    },
    Unknown,
}

/// The whole table.
pub fn all() -> impl Iterator<Item = &'static Route> {
    BUILT.iter().chain(TO_COME)
}

/// Looks up a path as [`super::inbound::Inbound`] makes it. `HEAD` is answered where `GET` is.
pub fn find(method: &str, path: &str) -> Match {
    let Some(route) = all().find(|route| route.paths.iter().any(|p| fits(p, path))) else {
        return Match::Unknown;
    };
    let name = route.name();
    let asked = if method == "HEAD" { GET } else { method };
    match route.methods.iter().find(|(known, _)| *known == asked) {
        Some((_, action)) => Match::Found(*action, name),
        None => {
            let mut allow: Vec<&str> = route.methods.iter().map(|(known, _)| *known).collect();
            if allow.contains(&GET) {
                allow.push("HEAD");
            }
            allow.push("OPTIONS");
            Match::WrongMethod { allow: allow.join(", "), route: name }
        }
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    if !pattern.contains(':') {
        return pattern == path;
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(name), Some(segment)) if name.starts_with(':') && !segment.is_empty() => {}
            (Some(name), Some(segment)) if name == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_methods_and_aliases_are_found() {
        assert_eq!(find("POST", "/si/ask"), Match::Found(Ask, "/api/si/ask"));
        assert_eq!(find("HEAD", "/usage"), Match::Found(UsageList, "/api/billing/usage"));
        assert_eq!(
            find("GET", "/api/jobs/run"),
            Match::WrongMethod { allow: "POST, OPTIONS".to_owned(), route: "/api/jobs/run" }
        );
        assert_eq!(find("GET", "/api/jobs/abc"), Match::Found(JobShow, "/api/jobs/:id"));
        for unknown in
            ["", "/", "/api", "/api/jobs//download", "/api//credits", "/api/credits/", "/%61pi/credits"]
        {
            assert_eq!(find("GET", unknown), Match::Unknown, "{unknown}");
        }
    }

    #[test]
    fn no_path_is_listed_twice() {
        let mut all: Vec<&str> = all().flat_map(|r| r.paths.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(all.iter().all(|path| path.starts_with('/') && !path.contains(char::is_uppercase)));
    }
}
