//! The matrix of drops on workerd: every point of it and a tenth of the rest; all of it with `VOICE_DROPS=all`, which
//! `make voice-drops` does. `VOICE_DROPS=mid-audio` runs the cells with that in their name.

mod stage;

use http_tests::voice_drops::{
    Cell, Judged, Window, cells, every_point_and_a_tenth, random_runs, run, table,
};
use stage::OnWorkerd;
use std::time::Duration;

const WINDOW: Window = Window(Duration::from_secs(8));
/// Sessions at one time. Most of them wait.
const AT_ONCE: usize = 12;
const RANDOM_RUNS: u64 = 24;
const RANDOM_RUNS_OF_ALL: u64 = 200;

fn wanted() -> String {
    std::env::var("VOICE_DROPS").unwrap_or_default()
}

fn chosen() -> Vec<Cell> {
    match wanted().as_str() {
        "all" => cells(),
        "" => every_point_and_a_tenth(),
        name => cells().into_iter().filter(|cell| cell.name().contains(name)).collect(),
    }
}

fn assert_sound<'a>(judged: impl IntoIterator<Item = &'a Judged>) {
    let wrong = judged.into_iter().filter(|one| !one.found.is_sound());
    let wrong: Vec<String> = wrong.map(|one| format!("{}: {:#?}", one.name, one.found)).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_drop_loses_doubles_or_charges_anything() {
    let stage = OnWorkerd::new(WINDOW).await;
    let seeds = match wanted().as_str() {
        "all" => RANDOM_RUNS_OF_ALL,
        "" => RANDOM_RUNS,
        _ => 0,
    };
    let random = random_runs(stage.clone(), WINDOW, 0..seeds, AT_ONCE).await;
    let judged = run(stage, WINDOW, chosen(), AT_ONCE).await;
    if let Ok(path) = std::env::var("VOICE_DROPS_REPORT") {
        let page = table("on workerd", WINDOW, &judged, &random);
        std::fs::write(path, page).expect("the report is written");
    }
    assert_sound(judged.iter().chain(&random));
}
