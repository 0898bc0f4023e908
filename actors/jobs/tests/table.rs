//! The table of states, and the diagram that is made of it.

use std::collections::BTreeSet;

use super::state::{TABLE, diagram};
use super::*;

#[test]
fn the_table_says_one_thing_of_each_pair() {
    let pairs: Vec<String> = TABLE.iter().map(|(from, event, _)| format!("{from:?} {event:?}")).collect();
    assert_eq!(pairs.iter().collect::<BTreeSet<_>>().len(), pairs.len());
}

#[test]
fn every_state_is_reached_and_every_open_one_is_left_by_time_alone() {
    let mut reached = BTreeSet::from([State::Queued, State::Delayed]);
    for _ in TABLE {
        reached.extend(
            TABLE.iter().filter(|(from, ..)| reached.contains(from)).map(|(.., to)| *to).collect::<Vec<_>>(),
        );
    }
    assert_eq!(reached.len(), State::ALL.len());
    for state in State::ALL {
        // Whatever becomes of workers, messages and clients, the deadline ends it.
        let expires = TABLE.contains(&(state, Event::Expire, State::Failed));
        assert_eq!(expires, !state.is_final(), "{state:?}");
        let stays = TABLE.iter().all(|(from, event, _)| *from != state || *event == Event::Redrive);
        assert_eq!(stays, state.is_final(), "{state:?}");
    }
}

#[test]
fn names_are_those_that_are_stored() {
    for state in State::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        assert!(SCHEMA.contains(&format!("state = '{}'", state.name())));
        assert_eq!(serde_json::to_value(state.status()).unwrap(), state.status().name());
    }
}

#[test]
fn the_page_shows_the_table() {
    let page = include_str!("../../../ops/jobs.md");
    let shown = page.split("```mermaid\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown, Some(diagram().as_str()), "put this into ops/jobs.md:\n{}", diagram());
}
