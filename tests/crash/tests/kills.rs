//! The run itself: 20 kills by default, as many as one likes through the environment (`make crash`).

use crash_tests::run::run;
use crash_tests::settings::Settings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let settings = Settings::from_environment();
    let report = run(settings.clone()).await;
    let text = report.text();
    println!("{text}");
    report.write();
    assert!(report.violations.is_empty(), "seed {}:\n{text}", settings.seed);
    assert_eq!(report.restarts.len(), settings.kills);
    assert!(report.acknowledged() >= settings.operations);
}
