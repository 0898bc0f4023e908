//! Tickets and openings as commands: for whom, with which credential, and how long.

use super::*;
use crate::keys::NewKey;
use crate::tickets::{NewTicket, Presented, Purpose, TICKET_TTL_MS};

fn new(secret: &str) -> NewTicket {
    NewTicket { digest: digest(secret), purpose: Purpose::Events, origin: None, credential_ends_at_ms: None }
}

fn digest(secret: &str) -> String {
    format!("{secret:0>64}")
}

fn by_ticket(secret: &str) -> Opening {
    let shown = Presented { digest: digest(secret), purpose: Purpose::Events, origin: None };
    Opening { ticket: Some(shown), claimed: None, credential_ends_at_ms: None, after: None }
}

impl Shell {
    fn with_key(&mut self, command: Command, key: Option<&str>, now_ms: i64) -> Result<Outcome, Refusal> {
        // A ticket's holder does not know whose it is.
        let tenant = TenantId::Guest(String::new());
        let tenant =
            if matches!(command, Command::OpenSocket(_)) { tenant } else { self.actor.tenant.clone() };
        let call = Call { tenant, api_key: key.map(str::to_owned), request_id: None, command };
        let (sql, actor, policy) = (&mut self.sql, &self.actor, &self.policy);
        sql.transaction(|sql| handle(sql, actor, policy, call, now_ms))
    }

    fn mint(&mut self, secret: &str, key: Option<&str>, now_ms: i64) -> Result<Outcome, Refusal> {
        self.with_key(Command::MintTicket(new(secret)), key, now_ms)
    }

    fn open_socket(&mut self, opening: Opening, now_ms: i64) -> Result<Opened, Refusal> {
        match self.with_key(Command::OpenSocket(Box::new(opening)), None, now_ms)?.reply {
            Reply::Opened(opened) => Ok(*opened),
            other => panic!("{other:?}"),
        }
    }

    fn key(&mut self, id: &str, expires_at_ms: Option<i64>) {
        let key = NewKey { id: id.to_owned(), digest: id.to_owned(), name: "k".to_owned(), expires_at_ms };
        self.run(Command::CreateKey { key, cap: None, idempotency: None }, NOW_MS).unwrap();
    }
}

#[test]
fn a_ticket_opens_for_its_tenant_and_wakes_the_alarm_to_be_forgotten() {
    let mut shell = Shell::with_balance(1_000);
    let outcome = shell.mint("a", None, NOW_MS).unwrap();
    let Effect::WakeBy { at_ms } = outcome.effects[0] else { panic!("{outcome:?}") };
    assert!((NOW_MS + TICKET_TTL_MS..=NOW_MS + TICKET_TTL_MS + 60_000).contains(&at_ms));
    let stranger = Opening { claimed: Some(guest()), ..by_ticket("a") };
    assert_eq!(shell.open_socket(stranger, NOW_MS).unwrap_err(), Refusal::UnknownTicket);
    let wrong_place = Opening { after: Some("nowhere".to_owned()), ..by_ticket("a") };
    assert_eq!(shell.open_socket(wrong_place, NOW_MS).unwrap_err(), Refusal::InvalidCursor);
    let opened = shell.open_socket(Opening { claimed: Some(me()), ..by_ticket("a") }, NOW_MS).unwrap();
    assert_eq!((opened.tenant, opened.account.available), (me(), Micro(1_000)), "no refusal had used it up");
    assert_eq!(shell.open_socket(by_ticket("a"), NOW_MS).unwrap_err(), Refusal::UnknownTicket);
    shell.mint("b", None, NOW_MS).unwrap();
    shell.ring(NOW_MS + TICKET_TTL_MS);
    assert_eq!(shell.sql.text("SELECT COUNT(*) FROM tickets", &[]).unwrap().unwrap(), "0");
}

#[test]
fn a_keys_ticket_ends_with_the_key() {
    let mut shell = Shell::with_balance(1_000);
    shell.key("ending", Some(NOW_MS + 9_000));
    shell.key("revoked", None);
    shell.mint("a", Some("ending"), NOW_MS).unwrap();
    shell.mint("b", Some("revoked"), NOW_MS).unwrap();
    shell.mint("c", Some("ending"), NOW_MS).unwrap();
    assert_eq!(shell.mint("d", Some("nobody's"), NOW_MS).unwrap_err(), Refusal::UnknownApiKey);
    let opened = shell.open_socket(by_ticket("a"), NOW_MS).unwrap();
    assert_eq!(
        (opened.listener.api_key.as_deref(), opened.listener.ends_at_ms),
        (Some("ending"), NOW_MS + 9_000)
    );
    let revoked = shell.run(Command::RevokeKey { id: "revoked".to_owned() }, NOW_MS).unwrap();
    assert_eq!(revoked.effects, [Effect::EndSocketsOf { api_key: "revoked".to_owned() }]);
    assert_eq!(shell.open_socket(by_ticket("b"), NOW_MS).unwrap_err(), Refusal::UnknownApiKey);
    assert_eq!(shell.open_socket(by_ticket("c"), NOW_MS + 9_000).unwrap_err(), Refusal::UnknownApiKey);
}

#[test]
fn a_quarantined_actor_takes_no_ticket_and_a_strange_one_none_at_all() {
    let mut shell = Shell::with_balance(1_000);
    shell.mint("a", None, NOW_MS).unwrap();
    shell.sql.transaction(|sql| quarantine(sql, "broken")).unwrap();
    shell.actor.quarantined = true;
    assert_eq!(shell.mint("b", None, NOW_MS).unwrap_err(), Refusal::Quarantined);
    assert_eq!(shell.open_socket(by_ticket("a"), NOW_MS).unwrap_err(), Refusal::Quarantined);
    let command = Command::OpenSocket(Box::new(by_ticket("a")));
    let call = Call { tenant: me(), api_key: None, request_id: None, command };
    assert_eq!(unopened(&call, &policy(), NOW_MS).unwrap_err(), Refusal::UnknownTicket);
}
