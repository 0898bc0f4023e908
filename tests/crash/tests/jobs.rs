//! Jobs under kills: 60 jobs and 5 kills by default, as many as one likes through the environment (`make crash-jobs`).

use crash_tests::jobs::run::run;
use crash_tests::jobs::settings::Settings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_acknowledged_job_ends_once_with_one_charge_and_is_watched_without_a_gap() {
    let settings = Settings::from_environment();
    let report = run(settings.clone()).await;
    let text = report.markdown();
    println!("{text}");
    report.write();
    assert!(report.violations.is_empty(), "seed {}:\n{text}", settings.seed);
    assert_eq!(report.restarts_ms.len(), settings.kills);
    // Those without a key whose answer a kill took are not known to be made.
    assert!(report.acknowledged() * 10 >= settings.jobs * 8, "{text}");
    assert!(settings.kills == 0 || report.running.iter().any(|running| *running > 0), "no kill met a job");
}
