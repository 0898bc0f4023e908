//! What is remembered has an end, and what is forgotten changes no sum.

use super::stage::{NOW_MS, Stage, definition};
use crate::experiment::{
    ARMS_KEPT_MAX, By, Command, Definition, FEEDBACK_WINDOW_MS, Page, REASON_BYTES_MAX, REQUESTS_MAX, Reply,
    STICKY_MS_MAX, Steering, TRANSITIONS_MAX, Turn, UNITS_MAX,
};
use crate::shared::Refusal;
use crate::sql::Sql;

/// Rows as if so many had come before.
fn fill(stage: &mut Stage, table: &str, values: &str, count: i64) {
    let statement = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})
         INSERT INTO {table} SELECT {values} FROM n"
    );
    stage.sql.execute(&statement, &[]).unwrap();
}

#[test]
fn so_many_units_are_remembered_and_the_first_are_forgotten() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 10_000, ..definition(&["a", "b"]) }).unwrap();
    let until_ms = NOW_MS + 10_000;
    fill(&mut stage, "units", &format!("n, 'unit-' || n, 'b', {until_ms}"), UNITS_MAX);
    assert_eq!(stage.arm_of("unit-1"), ("b".to_owned(), By::Kept));
    stage.arm_of("new");
    assert_eq!(stage.number("SELECT COUNT(*) FROM units"), UNITS_MAX);
    assert_eq!(stage.arm_of("new").1, By::Kept);
    assert_eq!(stage.arm_of("unit-2").1, By::Kept);
    assert_eq!(stage.arm_of("unit-1").1, By::Chance, "the first was forgotten, and takes the newest place");
    assert_eq!(stage.number("SELECT COUNT(*) FROM units"), UNITS_MAX);
}

#[test]
fn so_many_answers_wait_for_a_score_and_the_first_are_forgotten() {
    let mut stage = Stage::running(&["a", "b"]);
    let values = format!("n, 'before-' || n, 'me', 'a', 0, {NOW_MS}, NULL, NULL");
    fill(&mut stage, "requests", &values, REQUESTS_MAX);
    stage.sql.execute("UPDATE arms SET answers = ?1 WHERE name = 'a'", &[REQUESTS_MAX.into()]).unwrap();
    assert!(stage.score("before-1", "me", 1.0).is_ok());
    let id = stage.answer("me", None);
    assert_eq!(stage.number("SELECT COUNT(*) FROM requests"), REQUESTS_MAX);
    assert_eq!(stage.score("before-1", "me", 1.0), Err(Refusal::UnknownRequest));
    assert!(stage.score("before-2", "me", 1.0).is_ok() && stage.score(&id, "me", 1.0).is_ok());
    let answers: i64 = stage.report().arms.iter().map(|arm| arm.answers).sum();
    assert_eq!(answers, REQUESTS_MAX + 1, "no sum forgets");
}

#[test]
fn an_answer_can_be_scored_for_its_time_and_is_forgotten_after_it() {
    let mut stage = Stage::running(&["a", "b"]);
    let ids: Vec<_> = (0..20).map(|_| stage.answer("me", None)).collect();
    stage.now_ms = NOW_MS + FEEDBACK_WINDOW_MS - 1;
    assert!(stage.score(&ids[0], "me", 1.0).is_ok());
    stage.now_ms = NOW_MS + FEEDBACK_WINDOW_MS;
    assert_eq!(stage.score(&ids[1], "me", 1.0), Err(Refusal::UnknownRequest));
    for _ in 0..3 {
        stage.answer("me", None);
    }
    assert_eq!(stage.number("SELECT COUNT(*) FROM requests"), 3, "more are forgotten than come");
    assert_eq!(stage.report().arms.iter().map(|arm| arm.sums.outcomes).sum::<i64>(), 1);
}

#[test]
fn what_was_done_is_remembered_so_far_back() {
    let mut stage = Stage::running(&["a", "b"]);
    let values = format!("n + 1, {NOW_MS}, 'paused', NULL, 'r', 'first', NULL");
    fill(&mut stage, "transitions", &values, TRANSITIONS_MAX);
    let report = stage.steer(Turn::Pause).unwrap();
    assert_eq!(stage.number("SELECT COUNT(*) FROM transitions"), TRANSITIONS_MAX);
    assert_eq!(report.transitions.len(), 50);
    // Page by page all of it is told, each once, the newest first.
    let mut page = Page { limit: Some(70), cursor: None };
    let mut told = Vec::new();
    loop {
        let Reply::Report(report) = stage.send(Command::ReportPage(page.clone())).unwrap() else { panic!() };
        assert!((1..=70).contains(&report.transitions.len()));
        told.extend(report.transitions.iter().map(|done| done.seq));
        page.cursor = report.next_cursor;
        if page.cursor.is_none() {
            break;
        }
    }
    assert!(told.is_sorted_by(|a, b| a > b) && told.len() == 1_000, "{} {told:?}", told.len());
    for (limit, expected) in [(0, 1), (1, 1), (100, 100), (10_000, 100)] {
        let page = Page { limit: Some(limit), cursor: None };
        let Reply::Report(report) = stage.send(Command::ReportPage(page)).unwrap() else { panic!() };
        assert_eq!(report.transitions.len(), expected, "{limit}");
    }
}

#[test]
fn a_cursor_is_of_one_list_and_written_one_way() {
    let mut stage = Stage::running(&["a", "b"]);
    stage.steer(Turn::Pause).unwrap();
    let page = |cursor: &str| Command::ReportPage(Page { limit: Some(1), cursor: Some(cursor.to_owned()) });
    let Reply::Report(report) = stage.send(page("summary-2")).unwrap() else { panic!() };
    assert_eq!((report.transitions.len(), report.transitions[0].kind.as_str()), (1, "defined"));
    assert_eq!(report.next_cursor, None);
    for wrong in [
        "",
        "2",
        "summary",
        "summary-",
        "summary-02",
        "summary-+2",
        "summary-0",
        "summary--1",
        "summary-9007199254740992",
        "other-2",
    ] {
        assert_eq!(stage.send(page(wrong)), Err(Refusal::InvalidCursor), "{wrong}");
    }
}

#[test]
fn what_is_just_within_its_limit_is_taken() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: STICKY_MS_MAX, ..definition(&["arm-0", "arm-1"]) }).unwrap();
    let month_ms = 2_592_000_000;
    assert_eq!((STICKY_MS_MAX, FEEDBACK_WINDOW_MS), (month_ms, month_ms));
    let reason = "r".repeat(REASON_BYTES_MAX);
    let steering = Steering { turn: Turn::Pause, reason, operator: "first".to_owned() };
    assert!(stage.send(Command::Steer(steering)).is_ok());
    // Two that are new each time, until there were as many as there may be.
    let pair = |first: u32| {
        let names = [format!("arm-{first}"), format!("arm-{}", first + 1)];
        definition(&[&names[0], &names[1]])
    };
    for first in (0..ARMS_KEPT_MAX).step_by(2) {
        stage.define(pair(first)).unwrap();
    }
    let over = stage.define(pair(ARMS_KEPT_MAX));
    assert!(matches!(over, Err(Refusal::InvalidSetting { .. })), "{over:?}");
    assert!(stage.define(pair(0)).is_ok(), "those that were there before are no more than there were");
}

#[test]
fn no_report_and_no_assignment_looks_at_every_row() {
    let mut stage = Stage::running(&["a", "b"]);
    for query in [
        "SELECT arm FROM units WHERE unit = 'x' AND until_ms > 1",
        "SELECT seq FROM requests WHERE request_id = 'x' AND tenant = 'y' AND at_ms > 1",
        "SELECT COALESCE(MAX(seq), 0) + 1 FROM units",
        "DELETE FROM units WHERE seq <= 1",
        "SELECT seq FROM requests ORDER BY seq LIMIT 8",
        "SELECT * FROM transitions ORDER BY seq DESC LIMIT 50",
    ] {
        let plan: String =
            stage.sql.first_row(&format!("EXPLAIN QUERY PLAN {query}"), |row| row.get(3)).unwrap();
        let walks_all = plan.starts_with("SCAN") && !query.contains("LIMIT");
        assert!(!walks_all, "{query}: {plan}");
    }
}
