//! Voice sessions as commands: opened with their ticket where there is credit, and let in by it once.

use super::*;
use crate::keys::NewKey;
use crate::tickets::{NewTicket, Presented, Purpose, TICKET_TTL_MS};

fn purpose(session: &str) -> Purpose {
    Purpose::Voice { session: session.to_owned() }
}

fn asked(session: &str, need: i64) -> VoiceCommand {
    let ticket = NewTicket {
        digest: format!("{session:0>64}"),
        purpose: purpose(session),
        origin: Some("https://a.io".to_owned()),
        credential_ends_at_ms: None,
    };
    VoiceCommand::Open { session: session.to_owned(), need: Micro(need), ticket: Some(ticket) }
}

fn shown(session: &str, of: &str, origin: Option<&str>) -> VoiceCommand {
    let origin = origin.map(str::to_owned);
    VoiceCommand::Redeem(Presented { digest: format!("{session:0>64}"), purpose: purpose(of), origin })
}

impl Shell {
    fn voice(
        &mut self,
        tenant: &TenantId,
        asked: VoiceCommand,
        key: Option<&str>,
        now_ms: i64,
    ) -> Result<VoiceReply, Refusal> {
        let command = Command::Voice(Box::new(asked));
        let call =
            Call { tenant: tenant.clone(), api_key: key.map(str::to_owned), request_id: None, command };
        let (sql, actor, policy) = (&mut self.sql, &self.actor, &self.policy);
        match sql.transaction(|sql| handle(sql, actor, policy, call, now_ms))?.reply {
            Reply::Voice(reply) => Ok(*reply),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_session_is_opened_with_its_ticket_which_is_good_once() {
    let mut shell = Shell::with_balance(1_000);
    let nobody = TenantId::Guest(String::new());
    let opened = shell.voice(&me(), asked("s1", 1_000), None, NOW_MS).unwrap();
    assert_eq!(opened, VoiceReply::Opened { expires_at_ms: Some(NOW_MS + TICKET_TTL_MS) });
    let page = Some("https://a.io");
    for (of, origin) in [("s2", page), ("s1", None), ("s1", Some("https://b.io"))] {
        let refused = shell.voice(&nobody, shown("s1", of, origin), None, NOW_MS);
        assert_eq!(refused, Err(Refusal::UnknownTicket), "{of} {origin:?}");
    }
    let redeemed = shell.voice(&nobody, shown("s1", "s1", page), None, NOW_MS).unwrap();
    assert_eq!(redeemed, VoiceReply::Redeemed { tenant: me() });
    let again = shell.voice(&nobody, shown("s1", "s1", page), None, NOW_MS);
    assert_eq!(again, Err(Refusal::UnknownTicket));
    let late = shell
        .voice(&me(), asked("s3", 0), None, NOW_MS)
        .and_then(|_| shell.voice(&nobody, shown("s3", "s3", page), None, NOW_MS + TICKET_TTL_MS));
    assert_eq!(late, Err(Refusal::UnknownTicket));
}

#[test]
fn who_cannot_pay_a_turn_has_no_session_and_no_ticket() {
    let mut shell = Shell::with_balance(1_000);
    let refused = shell.voice(&me(), asked("s1", 1_001), None, NOW_MS);
    assert!(matches!(refused, Err(Refusal::InsufficientCredits { needed: Micro(1_001), .. })), "{refused:?}");
    let listed = VoiceCommand::List { limit: 5, cursor: None };
    let VoiceReply::Page(page) = shell.voice(&me(), listed, None, NOW_MS).unwrap() else { panic!() };
    assert!(page.items.is_empty());
    let call = |command| Call { tenant: me(), api_key: None, request_id: None, command };
    let before = |asked| unopened(&call(Command::Voice(Box::new(asked))), &policy(), NOW_MS);
    assert!(matches!(before(asked("s1", 1)), Err(Refusal::InsufficientCredits { .. })));
    assert!(matches!(before(asked("s1", 0)), Ok(None)), "an opening opens the actor");
    assert!(matches!(before(shown("s1", "s1", None)), Err(Refusal::UnknownTicket)));
    assert!(matches!(before(VoiceCommand::Prefs), Ok(Some(Reply::Voice(_)))));
}

#[test]
fn another_tenant_a_revoked_key_and_a_quarantine_open_nothing() {
    let mut shell = Shell::with_balance(1_000);
    assert_eq!(shell.voice(&guest(), asked("s1", 0), None, NOW_MS), Err(Refusal::TenantMismatch));
    let key =
        NewKey { id: "k1".to_owned(), digest: "k1".to_owned(), name: "k".to_owned(), expires_at_ms: None };
    shell.run(Command::CreateKey { key, cap: None, idempotency: None }, NOW_MS).unwrap();
    shell.voice(&me(), asked("s1", 0), Some("k1"), NOW_MS).unwrap();
    shell.run(Command::RevokeKey { id: "k1".to_owned() }, NOW_MS).unwrap();
    let page = Some("https://a.io");
    let redeemed = shell.voice(&me(), shown("s1", "s1", page), None, NOW_MS);
    assert_eq!(redeemed, Err(Refusal::UnknownApiKey));
    assert_eq!(shell.voice(&me(), asked("s2", 0), Some("k1"), NOW_MS), Err(Refusal::UnknownApiKey));
    // What was begun may still end.
    let ended = VoiceCommand::Ended { session: "s1".to_owned() };
    assert_eq!(shell.voice(&me(), ended, Some("k1"), NOW_MS), Ok(VoiceReply::Ended));
    shell.actor.quarantined = true;
    assert_eq!(shell.voice(&me(), asked("s4", 0), None, NOW_MS), Err(Refusal::Quarantined));
    assert_eq!(shell.voice(&me(), shown("s1", "s1", page), None, NOW_MS), Err(Refusal::Quarantined));
    assert!(shell.voice(&me(), VoiceCommand::Prefs, None, NOW_MS).is_ok(), "questions are answered");
}
